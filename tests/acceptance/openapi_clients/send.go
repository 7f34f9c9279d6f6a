// A client that openapi-generator made for Go, sending what the jobs of the first argument say.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	lakegate "lakegate.example/generated/client"
)

type job struct {
	Url, Prefer string
	Events      []lakegate.Event
}

// What Answer and Problem have in common.
type counted interface {
	GetAccepted() int32
	GetDuplicates() int32
	GetRejected() int32
	GetRetry() int32
	GetResults() []lakegate.Result
	GetResultsTruncatedOk() (*bool, bool)
}

func send(job job) (int, counted) {
	configuration := lakegate.NewConfiguration()
	configuration.Servers = lakegate.ServerConfigurations{{URL: job.Url}}
	client := lakegate.NewAPIClient(configuration)
	ctx := context.WithValue(context.Background(), lakegate.ContextAccessToken, "dev")
	request := client.EventsAPI.PostEvents(ctx).Event(job.Events)
	if job.Prefer != "" {
		request = request.Prefer(job.Prefer)
	}
	answer, response, err := request.Execute()
	var problem *lakegate.GenericOpenAPIError
	if errors.As(err, &problem) {
		model := problem.Model().(lakegate.Problem)
		return response.StatusCode, &model
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return response.StatusCode, answer
}

func main() {
	var jobs []job
	if err := json.Unmarshal([]byte(os.Args[1]), &jobs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	answers := []map[string]interface{}{}
	for _, job := range jobs {
		status, answer := send(job)
		results := [][]interface{}{}
		for _, result := range answer.GetResults() {
			row := []interface{}{result.Index, result.EventUuid, result.Status, nil, nil}
			if result.Error != nil {
				row[3], row[4] = result.Error.Code, result.Error.Pointer
			}
			results = append(results, row)
		}
		truncated, _ := answer.GetResultsTruncatedOk()
		answers = append(answers, map[string]interface{}{
			"status": status, "accepted": answer.GetAccepted(), "duplicates": answer.GetDuplicates(), "rejected": answer.GetRejected(),
			"retry": answer.GetRetry(), "truncated": truncated, "results": results,
		})
	}
	json.NewEncoder(os.Stdout).Encode(answers)
}
