// Reads documents, one JSON object {id, ask, doc} a line, and answers one line each: {id, errors} or {id, doc}.
//   ask schema   errors of the official JSON schema of the document's version; the first is enough
//   ask parser   errors of the official parser, which has rules beside the schema
//   ask convert  doc is the document as 3.0.0, by the official converter
import {createInterface} from 'node:readline';
import specs from '@asyncapi/specs';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import {Parser} from '@asyncapi/parser';
import {convert} from '@asyncapi/converter';

const parser = new Parser();
const compiled = new Map();

function schemaOf(version) {
  if (!compiled.has(version)) {
    const ajv = new Ajv.default({strict: false, allErrors: false, unicodeRegExp: false, logger: false});
    addFormats.default(ajv);
    compiled.set(version, ajv.compile(specs.schemasWithoutId[version]));
  }
  return compiled.get(version);
}

const ask = {
  schema(text) {
    const doc = JSON.parse(text);
    const validate = schemaOf(doc.asyncapi);
    return {errors: validate(doc) ? [] : validate.errors.slice(0, 3).map(e => `${e.instancePath}: ${e.message}`)};
  },
  async parser(text) {
    const {diagnostics} = await parser.parse(text);
    return {errors: diagnostics.filter(d => d.severity === 0).map(d => `${d.code}: ${d.path.join('/')}: ${d.message}`)};
  },
  convert(text) {
    return {doc: JSON.stringify(convert(JSON.parse(text), '3.0.0'))};
  },
};

for await (const line of createInterface({input: process.stdin})) {
  const {id, ask: what, doc} = JSON.parse(line);
  process.stdout.write(JSON.stringify({id, ...await ask[what](doc)}) + '\n');
}
