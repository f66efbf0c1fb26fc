export type Snippet = { name: string; text: string };

/** snippets show how to read a topic in a few languages: whole programs that resume, as short as that can be. */
export function snippets({ url, secured }: { url: string; secured: boolean }): Snippet[] {
  const key = 'slk_…';
  return [
    { name: 'curl', text: `curl -N ${secured ? `-H 'ApiKey: ${key}' ` : ''}'${url}'` },
    {
      name: 'EventSource',
      text: secured
        ? `// EventSource sends no headers: buy a one-time ticket first, on your server.
const stream = new EventSource('${url}?ticket=' + ticket);
stream.onmessage = (e) => console.log(e.lastEventId, e.data);
stream.addEventListener('gateway.gap', (e) => reload(JSON.parse(e.data)));`
        : `const stream = new EventSource('${url}'); // reconnects and resumes by itself
stream.onmessage = (e) => console.log(e.lastEventId, e.data);
stream.addEventListener('gateway.gap', (e) => reload(JSON.parse(e.data)));`,
    },
    {
      name: 'fetch',
      text: `const answer = await fetch('${url}', {
  headers: { Accept: 'text/event-stream'${secured ? `, ApiKey: '${key}'` : ''}, ...(last && { 'Last-Event-ID': last }) },
});
for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
  // lines "id:", "event:", "data:"; a blank line ends an event. Keep its id in \`last\` and come back with it.
  console.log(text);
}`,
    },
    {
      name: 'Python',
      text: `import time, requests

last, wait = None, 2
while True:
    headers = {"Accept": "text/event-stream"${secured ? `, "ApiKey": "${key}"` : ''}}
    if last:
        headers["Last-Event-ID"] = last
    try:
        with requests.get("${url}", headers=headers, stream=True, timeout=45) as r:
            r.raise_for_status()
            event = {}
            for line in r.iter_lines(decode_unicode=True):
                if line:
                    field, _, value = line.partition(":")
                    event.setdefault(field, []).append(value.removeprefix(" "))
                    continue
                if "retry" in event:
                    wait = int(event["retry"][0]) / 1000
                if "data" in event:
                    print("\\n".join(event["data"]))
                last = event.get("id", [last])[0]
                event = {}
    except (requests.ConnectionError, requests.Timeout):
        pass
    time.sleep(wait)`,
    },
    {
      name: 'Go',
      text: `req, _ := http.NewRequest("GET", "${url}", nil)
req.Header.Set("Accept", "text/event-stream")${secured ? `\nreq.Header.Set("ApiKey", "${key}")` : ''}
if last != "" {
	req.Header.Set("Last-Event-ID", last)
}
res, err := http.DefaultClient.Do(req)
if err != nil {
	return err
}
defer res.Body.Close()
lines := bufio.NewScanner(res.Body)
lines.Buffer(nil, 2<<20) // an event may be 1 MiB
for lines.Scan() {
	if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
		last = id
	}
	fmt.Println(lines.Text())
}`,
    },
    {
      name: 'Java',
      text: `var request = HttpRequest.newBuilder(URI.create("${url}"))
    .header("Accept", "text/event-stream")${secured ? `\n    .header("ApiKey", "${key}")` : ''};
if (last != null) request.header("Last-Event-ID", last);
HttpClient.newHttpClient()
    .send(request.build(), HttpResponse.BodyHandlers.ofLines())
    .body()
    .forEach(line -> {
        if (line.startsWith("id: ")) last = line.substring(4);
        System.out.println(line);
    });`,
    },
  ];
}
