// Reads N events of a feed with one npm client, across whatever closes there are, and prints them as JSON lines' worth of
// one array: [{type, data, id}, …]. Everything that a client dispatches counts, an empty event too.
//
//   node run.mjs CLIENT URL N
//
// Clients: the keys of `clients` below. Exit status 1 for an unknown one; it runs until N events are there.

import {createRequire} from 'node:module'

const require = createRequire(import.meta.url)
const [, , name, url, count] = process.argv
const types = ['message', 'tick', 'gateway.gap', 'gateway.end']
const got = []

/** Takes one event; after the last one prints all and ends the process. */
function take(type, data, id) {
  if (got.length === Number(count)) return
  got.push({type: type || 'message', data, id})
  if (got.length < Number(count)) return
  process.stdout.write(JSON.stringify(got) + '\n', () => process.exit(0))
}

/** Listens to every type that occurs, as the DOM interface has no listener for all. */
function listen(source) {
  for (const type of types) source.addEventListener(type, (e) => take(e.type, e.data, e.lastEventId))
  source.addEventListener('error', () => {}) // a close is normal life; the client reconnects by itself
}

const clients = {
  async 'eventsource-client'() {
    const {createEventSource} = await import('eventsource-client')
    createEventSource({url, onMessage: (e) => take(e.event, e.data, e.id)})
  },

  async 'launchdarkly-eventsource'() {
    const {EventSource} = require('launchdarkly-eventsource')
    listen(new EventSource(url, {errorFilter: () => true}))
  },

  async 'reconnecting-eventsource'() {
    const {default: Reconnecting} = require('reconnecting-eventsource')
    const {EventSource} = require('launchdarkly-eventsource')
    listen(new Reconnecting(url, {eventSourceClass: EventSource}))
  },

  // Resumes by the query parameter lastEventId.
  async 'event-source-polyfill'() {
    const {EventSourcePolyfill} = require('event-source-polyfill')
    listen(new EventSourcePolyfill(url))
  },

  // Made for pages: it wants a window and a document. It gives up after a clean close unless onclose throws.
  async 'fetch-event-source'() {
    globalThis.window = globalThis
    globalThis.document = {addEventListener() {}, removeEventListener() {}}
    const {fetchEventSource} = require('@microsoft/fetch-event-source')
    const closed = () => { throw new Error('closed') }
    await fetchEventSource(url, {openWhenHidden: true, onclose: closed, onerror() {}, onmessage: (e) => take(e.event, e.data, e.id)})
  },
}

if (!clients[name]) {
  console.error(`unknown client ${name}; have ${Object.keys(clients).join(', ')}`)
  process.exit(1)
}
await clients[name]()
setInterval(() => {}, 1 << 30) // stay until the last event
