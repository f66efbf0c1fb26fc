import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

public class Stream {
    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        String[] lastId = {""};
        for (;; Thread.sleep(2000)) {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create("@URL@")).header("Accept", "text/event-stream");
            // @secured{
            request.header("@HEADER@", System.getenv("SLUICE_KEY"));
            // @}
            if (!lastId[0].isEmpty()) request.header("Last-Event-ID", lastId[0]);
            try {
                var answer = client.send(request.build(), BodyHandlers.ofLines());
                if (answer.statusCode() == 204) return; // the topic is gone
                answer.body().forEach(line -> {
                    if (line.startsWith("id: ")) lastId[0] = line.substring(4);
                    if (line.startsWith("data: ")) System.out.println(line.substring(6));
                });
            } catch (java.io.IOException | java.io.UncheckedIOException e) {
                System.err.println(e.getMessage());
            }
        }
    }
}
