// Sends events to a Lakegate gateway: one per line on standard input. Copy `send` and `post` into your own service.
//
//	LAKEGATE_URL=https://localhost:8443/v1/events LAKEGATE_KEY=dev go run send.go < events.ndjson > unsent.ndjson
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const batch, tries = 500, 10

type answer struct {
	Accepted, Duplicates, Rejected, Retry int

	Results []struct {
		Index     int
		EventUUID string `json:"event_uuid"`
		Status    string
		Error     struct{ Code, Pointer string }
	}
}

var total answer
var client = http.Client{Timeout: 30 * time.Second}

// settled says whether an answer of this status has the counts and `results`.
func settled(status int) bool {
	return status == 200 || status == 202 || status == 207 || status == 422
}

// post sends one request. It gives the status, the answer, its text, and the seconds that the gateway asks to wait.
func post(lines []string) (status int, got answer, text []byte, pause int, err error) {
	request, err := http.NewRequest("POST", os.Getenv("LAKEGATE_URL"), strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		return
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("LAKEGATE_KEY"))
	request.Header.Set("Content-Type", "application/x-ndjson")
	response, err := client.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	pause, _ = strconv.Atoi(response.Header.Get("Retry-After"))
	text, err = io.ReadAll(response.Body)
	if status = response.StatusCode; err == nil && settled(status) {
		err = json.Unmarshal(text, &got)
		if err == nil && got.Accepted+got.Duplicates+got.Rejected+got.Retry != len(lines) {
			err = errors.New("the counts are not those of this request")
		}
	}
	return
}

// send sends until every event is settled, at most `tries` times. It gives what is left: keep it, and send it later.
func send(lines []string) []string {
	for wait, try := time.Second/2, 0; try < tries; try++ {
		status, got, text, pause, err := post(lines)
		switch {
		case err != nil:
			fmt.Fprintln(os.Stderr, "no answer that can be read:", err)
		case settled(status):
			total.Accepted += got.Accepted
			total.Duplicates += got.Duplicates
			total.Rejected += got.Rejected
			var again []string
			for _, result := range got.Results {
				switch result.Status {
				case "retry":
					again = append(again, lines[result.Index])
				case "rejected":
					fmt.Fprintln(os.Stderr, "rejected:", result.Error.Code, result.Error.Pointer, result.EventUUID)
				}
			}
			if lines = again; len(lines) == 0 {
				return nil
			}
		case status == 413 && len(lines) > 1:
			half := len(lines) / 2
			return append(send(lines[:half]), send(lines[half:])...)
		case status != 408 && status != 429 && status < 500:
			fmt.Fprintf(os.Stderr, "the request is wrong: %d %s\n", status, text)
			return lines
		}
		time.Sleep(time.Duration(pause)*time.Second + time.Duration(rand.Float64()*float64(wait)))
		if wait *= 2; wait > time.Minute {
			wait = time.Minute
		}
	}
	return lines
}

func main() {
	rand.Seed(time.Now().UnixNano())
	var lines, unsent []string
	for input := bufio.NewReader(os.Stdin); ; {
		line, err := input.ReadString('\n')
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
		if len(lines) == batch || err != nil && len(lines) > 0 {
			unsent, lines = append(unsent, send(lines)...), nil
		}
		if err != nil {
			break
		}
	}
	for _, line := range unsent {
		fmt.Println(line)
	}
	fmt.Fprintf(os.Stderr, "accepted %d, duplicates %d, rejected %d, unsent %d\n", total.Accepted, total.Duplicates, total.Rejected, len(unsent))
}
