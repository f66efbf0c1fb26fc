// A browser reconnects by itself, and sends the last id that it saw.
// An event that has a name comes only to who listens for that name.
const names = [@NAMES@];
// @secured{
// It cannot send a key: your server buys a ticket for it, which opens one stream.
async function open(lastEventId) {
  const ticket = await (await fetch('/my-server/ticket', {method: 'POST'})).text();
  const url = new URL('@URL@', location.href);
  url.searchParams.set('ticket', ticket);
  if (lastEventId) url.searchParams.set('lastEventId', lastEventId);
  const source = new EventSource(url, {withCredentials: true});
  for (const name of names) source.addEventListener(name, (e) => {
    lastEventId = e.lastEventId;
    console.log(name, e.data);
  });
  source.addEventListener('gateway.gap', (e) => console.warn('missed', e.data));
  source.onerror = () => {
    // Without a cookie a spent ticket ends the stream: buy a new one.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => open(lastEventId), 1000);
  };
}
open();
// @}
// @open{
const source = new EventSource('@URL@');
for (const name of names) source.addEventListener(name, (e) => console.log(name, e.lastEventId, e.data));
source.addEventListener('gateway.gap', (e) => console.warn('missed', e.data));
// @}
