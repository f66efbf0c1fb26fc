import os
import time
import urllib.error
import urllib.request

url = "@URL@"
last_id = ""
while True:
    headers = {"Accept": "text/event-stream"}
    # @secured{
    headers["@HEADER@"] = os.environ["SLUICE_KEY"]
    # @}
    if last_id:
        headers["Last-Event-ID"] = last_id
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as stream:
            if stream.status == 204:  # the topic is gone
                break
            event, data = "message", []
            for raw in stream:
                field, _, value = raw.decode().rstrip("\r\n").partition(":")
                value = value.removeprefix(" ")
                if field == "id":
                    last_id = value
                elif field == "event":
                    event = value
                elif field == "data":
                    data.append(value)
                elif not field and not value:
                    if data:
                        print(event, "\n".join(data), flush=True)
                    event, data = "message", []
    except (urllib.error.URLError, OSError) as e:
        print(e)
    time.sleep(2)
