import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;

public class Stream {
    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        String lastId = "";
        long wait = 2000;
        for (;; Thread.sleep(wait)) {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create("@URL@")).header("Accept", "text/event-stream");
            // @secured{
            request.header("@HEADER@", System.getenv("SLUICE_KEY"));
            // @}
            if (!lastId.isEmpty()) request.header("Last-Event-ID", lastId);
            try {
                var answer = client.send(request.build(), BodyHandlers.ofLines());
                if (answer.statusCode() == 204) return; // the topic is gone
                if (answer.statusCode() != 200) System.err.println("status " + answer.statusCode());
                String event = "message", id = lastId;
                var data = new ArrayList<String>();
                for (String line : (Iterable<String>) answer.body()::iterator) {
                    int colon = line.indexOf(':');
                    String field = colon < 0 ? line : line.substring(0, colon);
                    String value = colon < 0 ? "" : line.substring(colon + 1).replaceFirst("^ ", "");
                    if (line.isEmpty()) { // an event is whole
                        if (!data.isEmpty()) System.out.println(event + " " + String.join("\n", data));
                        event = "message";
                        lastId = id;
                        data.clear();
                    } else if (field.equals("id")) id = value;
                    else if (field.equals("event")) event = value;
                    else if (field.equals("data")) data.add(value);
                    else if (field.equals("retry")) wait = Long.parseLong(value);
                }
            } catch (java.io.IOException | java.io.UncheckedIOException e) {
                System.err.println(e.getMessage());
            }
        }
    }
}
