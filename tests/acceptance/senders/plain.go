// Go's net/http, with the check that most programs make.
package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
)

func main() {
	events, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	request, err := http.NewRequest("POST", os.Getenv("LAKEGATE_URL"), bytes.NewReader(events))
	if err != nil {
		panic(err)
	}
	request.Header.Set("X-Api-Key", os.Getenv("LAKEGATE_KEY"))
	request.Header.Set("Content-Type", "application/x-ndjson")
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode/100 != 2 {
		os.Exit(1)
	}
}
