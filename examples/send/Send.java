// Sends events to a Lakegate gateway: one per line on standard input. Copy `send` and `post` into your own service. Needs Gson.
//   LAKEGATE_URL=https://localhost:8443/v1/events LAKEGATE_KEY=dev java -cp gson.jar Send.java < events.ndjson > unsent.ndjson
import com.google.gson.Gson;
import com.google.gson.JsonParseException;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.Collectors;

public class Send {
    record Fault(String code, String pointer) {}
    record Result(int index, String event_uuid, String status, Fault error) {}
    record Answer(int accepted, int duplicates, int rejected, int retry, List<Result> results) {}

    static final int BATCH = 500, TRIES = 10;
    /** The answers that have the counts and `results`. */
    static final Set<Integer> SETTLED = Set.of(200, 202, 207, 422);
    static final HttpClient CLIENT = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();
    static int accepted, duplicates, rejected;

    static HttpResponse<String> post(List<String> lines) throws IOException, InterruptedException {
        return CLIENT.send(HttpRequest.newBuilder(URI.create(System.getenv("LAKEGATE_URL")))
            .header("Authorization", "Bearer " + System.getenv("LAKEGATE_KEY"))
            .header("Content-Type", "application/x-ndjson")
            .timeout(Duration.ofSeconds(30))
            .POST(HttpRequest.BodyPublishers.ofString(String.join("\n", lines)))
            .build(), HttpResponse.BodyHandlers.ofString());
    }

    static Answer read(String body, int events) {
        var answer = new Gson().fromJson(body, Answer.class);
        if (answer == null || answer.results == null || answer.accepted + answer.duplicates + answer.rejected + answer.retry != events)
            throw new JsonParseException("the counts are not those of this request");
        return answer;
    }

    /** Sends until every event is settled, at most TRIES times. Gives what is left: keep it, and send it later. */
    static List<String> send(List<String> lines) throws InterruptedException {
        for (long attempt = 0, wait = 500; attempt < TRIES; attempt++, wait = Math.min(2 * wait, 60_000)) {
            long seconds = 0;
            try {
                var response = post(lines);
                int status = response.statusCode();
                seconds = response.headers().firstValue("Retry-After")
                    .filter(text -> text.matches("\\d{1,9}")).map(Long::parseLong).orElse(0L);
                if (SETTLED.contains(status)) {
                    var answer = read(response.body(), lines.size());
                    accepted += answer.accepted;
                    duplicates += answer.duplicates;
                    rejected += answer.rejected;
                    var again = new ArrayList<String>();
                    for (var result : answer.results) {
                        if (result.status.equals("retry")) again.add(lines.get(result.index));
                        if (result.status.equals("rejected"))
                            System.err.println("rejected: " + result.error.code + " " + result.error.pointer + " " + result.event_uuid);
                    }
                    lines = again;
                    if (lines.isEmpty()) return lines;
                } else if (status == 413 && lines.size() > 1) {
                    var unsent = new ArrayList<>(send(lines.subList(0, lines.size() / 2)));
                    unsent.addAll(send(lines.subList(lines.size() / 2, lines.size())));
                    return unsent;
                } else if (status != 408 && status != 429 && status < 500) {
                    System.err.println("the request is wrong: " + status + " " + response.body());
                    return lines;
                }
            } catch (IOException | JsonParseException error) {
                System.err.println("no answer that can be read: " + error);
            }
            Thread.sleep(1000 * seconds + ThreadLocalRandom.current().nextLong(wait));
        }
        return lines;
    }

    public static void main(String[] arguments) throws Exception {
        var input = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
        var lines = input.lines().filter(line -> !line.isBlank()).collect(Collectors.toList());
        var unsent = new ArrayList<String>();
        for (int start = 0; start < lines.size(); start += BATCH)
            unsent.addAll(send(lines.subList(start, Math.min(start + BATCH, lines.size()))));
        for (var line : unsent) System.out.write((line + "\n").getBytes(StandardCharsets.UTF_8));
        System.out.flush();
        System.err.printf("accepted %d, duplicates %d, rejected %d, unsent %d%n", accepted, duplicates, rejected, unsent.size());
    }
}
