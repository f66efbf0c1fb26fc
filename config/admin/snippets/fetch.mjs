// Node 20 or newer; in a browser leave process.env out.
const url = '@URL@';
let lastId = '', wait = 2000;
for (;;) {
  try {
    const headers = {Accept: 'text/event-stream'};
    // @secured{
    headers['@HEADER@'] = process.env.SLUICE_KEY;
    // @}
    if (lastId) headers['Last-Event-ID'] = lastId;
    const answer = await fetch(url, {headers});
    if (answer.status === 204) break; // the topic is gone
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    let rest = '', event = 'message', id = lastId, data = [];
    for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        const [, field, value] = /^([^:]*)(?:: ?(.*))?$/.exec(line);
        if (line === '') { // an event is whole
          if (data.length) console.log(event, data.join('\n'));
          event = 'message'; lastId = id; data = [];
        } else if (field === 'id') id = value;
        else if (field === 'event') event = value;
        else if (field === 'data') data.push(value ?? '');
        else if (field === 'retry') wait = Number(value);
      }
    }
  } catch (e) {
    console.error(e.message);
  }
  await new Promise((again) => setTimeout(again, wait));
}
