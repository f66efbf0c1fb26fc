import http.client
# @secured{
import os
# @}
import time
import urllib.request

url = "@URL@"
last_id, wait = "", 2.0
while True:
    headers = {"Accept": "text/event-stream"}
    # @secured{
    headers["@HEADER@"] = os.environ["SLUICE_KEY"]
    # @}
    if last_id:
        headers["Last-Event-ID"] = last_id
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as stream:
            if stream.status == 204:  # the topic is gone
                break
            event, id, data = "message", last_id, []
            for raw in stream:
                line = raw.decode().rstrip("\r\n")
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if not line:  # an event is whole
                    if data:
                        print(event, "\n".join(data), flush=True)
                    event, last_id, data = "message", id, []
                elif field == "id":
                    id = value
                elif field == "event":
                    event = value
                elif field == "data":
                    data.append(value)
                elif field == "retry" and value.isdigit():
                    wait = int(value) / 1000
    except (OSError, http.client.HTTPException) as e:
        print(e, flush=True)
    time.sleep(wait)
