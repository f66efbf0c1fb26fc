// Node 20 or newer; in a browser leave process.env out.
const url = '@URL@';
let lastId = '';
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
    let rest = '', event = '', data = [];
    for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        if (line === '') {
          if (data.length) console.log(event || 'message', data.join('\n'));
          event = ''; data = [];
        } else if (line.startsWith('id:')) lastId = line.slice(3).trim();
        else if (line.startsWith('event:')) event = line.slice(6).trim();
        else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
      }
    }
  } catch (e) {
    console.error(e.message);
  }
  await new Promise((again) => setTimeout(again, 2000));
}
