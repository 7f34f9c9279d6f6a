// Java's HttpClient, with the check that most programs make.
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class Plain {
    public static void main(String[] arguments) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(System.getenv("LAKEGATE_URL")))
            .header("X-Api-Key", System.getenv("LAKEGATE_KEY"))
            .header("Content-Type", "application/x-ndjson")
            .POST(HttpRequest.BodyPublishers.ofByteArray(System.in.readAllBytes()))
            .build();
        try {
            var response = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
            System.exit(response.statusCode() / 100 == 2 ? 0 : 1);
        } catch (IOException error) {
            System.exit(1);
        }
    }
}
