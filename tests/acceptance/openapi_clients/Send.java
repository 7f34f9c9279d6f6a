// A client that openapi-generator made for Java, sending what the jobs of the first argument say.

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.EventsApi;
import org.openapitools.client.model.Answer;
import org.openapitools.client.model.Event;
import org.openapitools.client.model.Problem;
import org.openapitools.client.model.Result;

public class Send {
    public static class Job {
        public String url;
        public String prefer;
        public List<Event> events;
    }

    static Map<String, Object> row(int status, Object accepted, Object duplicates, Object rejected, Object retry, Object truncated, List<Result> results) {
        var rows = new ArrayList<List<Object>>();
        for (var result : results) {
            var error = result.getError();
            rows.add(Arrays.asList(result.getIndex(), result.getEventUuid(), result.getStatus(),
                error == null ? null : error.getCode(), error == null ? null : error.getPointer()));
        }
        var row = new HashMap<String, Object>();
        row.put("status", status);
        row.put("accepted", accepted);
        row.put("duplicates", duplicates);
        row.put("rejected", rejected);
        row.put("retry", retry);
        row.put("truncated", truncated);
        row.put("results", rows);
        return row;
    }

    public static void main(String[] arguments) throws Exception {
        ObjectMapper mapper = ApiClient.createDefaultObjectMapper();
        var answers = new ArrayList<Map<String, Object>>();
        for (Job job : mapper.readValue(arguments[0], new TypeReference<List<Job>>() {})) {
            var client = new ApiClient();
            client.updateBaseUri(job.url);
            client.setRequestInterceptor(request -> request.header("Authorization", "Bearer dev"));
            try {
                var response = new EventsApi(client).postEventsWithHttpInfo(job.events, job.prefer.isEmpty() ? null : job.prefer, null, null, null);
                Answer answer = response.getData();
                answers.add(row(response.getStatusCode(), answer.getAccepted(), answer.getDuplicates(), answer.getRejected(),
                    answer.getRetry(), answer.getResultsTruncated(), answer.getResults()));
            } catch (ApiException exception) {
                var problem = mapper.readValue(exception.getResponseBody(), Problem.class);
                answers.add(row(exception.getCode(), problem.getAccepted(), problem.getDuplicates(), problem.getRejected(),
                    problem.getRetry(), problem.getResultsTruncated(), problem.getResults()));
            }
        }
        System.out.println(mapper.writeValueAsString(answers));
    }
}
