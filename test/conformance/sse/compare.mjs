// Runs the parse vectors of internal/sse through npm eventsource-parser, a parser that shares nothing with ours, whole and
// cut at every byte, and compares what it dispatches with what the vectors expect.
//
//   npm ci && node compare.mjs            compare; exit status 1 on any difference that `deviations` does not list
//   npm ci && node compare.mjs --record   the same, and write what it made of each vector for the Go tests
//
// The recorded results (internal/sse/testdata/eventsource-parser.json) let `go test` compare without Node.

import {readFileSync, writeFileSync} from 'node:fs'
import {createRequire} from 'node:module'
import {fileURLToPath} from 'node:url'
import {createParser} from 'eventsource-parser'
import {parse} from 'yaml'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const vectorsFile = here('../../../internal/sse/testdata/vectors.yaml')
const recordFile = here('../../../internal/sse/testdata/eventsource-parser.json')
const version = createRequire(import.meta.url)('eventsource-parser/package.json').version

// Where that parser differs from the vectors, and why. A row here that does not differ is an error too.
const deviations = {
  'an id of 1025 bytes is ignored': 'our choice: that parser has no limit, nor has the standard',
  'a huge retry saturates': 'our choice: that parser returns a floating-point number beyond any timer',
}

/** Bytes of a text of the vectors file: a string with escapes, or a list of strings and {times, of}. */
function bytes(text) {
  if (text === undefined) return Buffer.alloc(0)
  if (Array.isArray(text)) {
    return Buffer.concat(text.map((part) => (typeof part === 'string' ? bytes(part) : repeated(part))))
  }
  const plain = {n: '\n', r: '\r', t: '\t', '\\': '\\'}
  const parts = text.split(/(\\x[0-9a-f]{2}|\\.)/)
  return Buffer.concat(parts.map((part, i) => {
    if (i % 2 === 0) return Buffer.from(part)
    if (part.length === 4) return Buffer.from(part.slice(2), 'hex')
    const char = plain[part[1]]
    if (char === undefined) throw new Error(`unknown escape ${part} in ${text}`)
    return Buffer.from(char)
  }))
}

function repeated({times, of}) {
  const unit = bytes(of)
  return Buffer.alloc(unit.length * times, unit)
}

/** What the vector expects, as strings. */
function expected(vector) {
  const events = vector.events.map((e) => ({
    type: bytes(e.type).toString() || 'message',
    data: bytes(e.data).toString(),
    id: bytes(e.id).toString(),
  }))
  const last = vector.last === undefined ? (events.at(-1)?.id ?? '') : bytes(vector.last).toString()
  return {events, last, retry: vector.retry ?? null}
}

/** What the parser makes of a stream that arrives in the given chunks. Ids are made sticky here, as its users do. */
function run(chunks) {
  const result = {events: [], last: '', retry: null}
  const parser = createParser({
    onId: (id) => { result.last = id },
    onEvent: (e) => { result.events.push({type: e.event ?? 'message', data: e.data, id: result.last}) },
    onRetry: (ms) => { result.retry = ms },
  })
  const decoder = new TextDecoder('utf-8', {ignoreBOM: true}) // the parser drops the mark
  for (const chunk of chunks) parser.feed(decoder.decode(chunk, {stream: true}))
  parser.feed(decoder.decode())
  return result
}

/** Places to cut a stream of n bytes at: every one, unless it is long. */
const cuts = (n) => Array.from({length: n + 1}, (_, at) => at).filter((at) => at < 300 || at > n - 300 || at % 4099 === 0)

function check(vector) {
  const input = bytes(vector.in)
  const whole = run([input])
  const text = JSON.stringify(whole)
  const split = cuts(input.length).find((at) => JSON.stringify(run([input.subarray(0, at), input.subarray(at)])) !== text)
  return {whole, split, same: text === JSON.stringify(expected(vector))}
}

const {vectors} = parse(readFileSync(vectorsFile, 'utf8'))
const record = []
let failed = 0
const fail = (name, why) => { failed++; console.log(`FAIL ${name}: ${why}`) }

for (const vector of vectors) {
  const {whole, split, same} = check(vector)
  const reason = deviations[vector.name]
  if (split !== undefined) fail(vector.name, `another result when cut at byte ${split}`)
  if (!same && !reason) fail(vector.name, `got ${JSON.stringify(whole).slice(0, 400)}`)
  if (same && reason) fail(vector.name, 'listed as a deviation, but does not deviate')
  record.push({name: vector.name, ...(reason ? {deviates: reason} : {}), ...whole})
}
for (const name of Object.keys(deviations)) {
  if (!vectors.some((v) => v.name === name)) fail(name, 'listed as a deviation, but there is no such vector')
}

if (process.argv.includes('--record') && failed === 0) {
  // Long texts are recorded by their ends and length; the Go test shortens its own side alike.
  const short = (s) => (s.length > 1000 ? `${s.slice(0, 20)}…${s.length}…${s.slice(-20)}` : s)
  for (const r of record) r.events = r.events.map((e) => ({type: e.type, data: short(e.data), id: short(e.id)}))
  const body = record.map((r) => `    ${JSON.stringify(r)}`).join(',\n')
  writeFileSync(recordFile, `{\n  "parser": "eventsource-parser",\n  "version": "${version}",\n  "results": [\n${body}\n  ]\n}\n`)
}
console.log(`eventsource-parser ${version}: ${vectors.length} vectors, ${Object.keys(deviations).length} known deviations, ${failed} failed`)
process.exitCode = failed ? 1 : 0
