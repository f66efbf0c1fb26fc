// The seed, step by step, as a person does it: sign in, create, topics, definition, transports, publish, try, drop, resume.
import assert from 'node:assert/strict';
import test from 'node:test';

import { browse, call, look, provider, short, shows, signIn, visit } from './rig.mjs';

test('an API from its creation to a resumed stream', async (t) => {
  const page = await visit(t, await browse(t));
  const tab = (name) => page.getByRole('tab', { name }).click();

  await page.goto(process.env.PORTAL_URL);
  await page.getByRole('textbox', { name: 'Name' }).waitFor();
  await look(page, 'login');
  await page.getByRole('textbox', { name: 'Name' }).fill('admin');
  await page.locator('input[type=password]').fill('not-the-password');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('Name or password is wrong.').waitFor();
  await signIn(page, 'admin');
  await page.getByText('No API yet').waitFor();
  await look(page, 'apis-empty');

  await page.getByRole('link', { name: 'Create API' }).first().click();
  await page.getByRole('textbox', { name: 'Name', exact: true }).fill('ServerSentEvents');
  await page.getByLabel('Context').fill('/events');
  await page.getByLabel('Endpoint').fill(provider);
  await page.getByText('/events/1.0.0/…').waitFor();
  await look(page, 'new');
  await page.getByRole('button', { name: 'Create', exact: true }).click();

  await page.getByRole('button', { name: 'Delete topic /*' }).click();
  await page.getByRole('button', { name: 'Undo', exact: true }).click();
  await page.getByRole('button', { name: 'Delete topic /*' }).click();
  await page.getByLabel('New topic').fill('ticks');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByRole('button', { name: 'sub /ticks' }).click();
  await page.getByLabel('Backend path').fill('/stream/ticks');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('All saved').waitFor();
  await look(page, 'topics');

  await tab('Overview');
  await page.getByText('/events/1.0.0').first().waitFor();
  await look(page, 'overview');
  await tab('AsyncAPI');
  await shows(page, await (await call('GET', '/api/v1/apis/ServerSentEvents@1.0.0/asyncapi?version=3.1.0&format=json')).json());
  await look(page, 'asyncapi');
  await page.getByText('Source').click();
  await page.getByText('asyncapi: 3.1.0').waitFor();
  await look(page, 'asyncapi-source');

  await tab('Runtime');
  await page.getByRole('checkbox', { name: 'http', exact: true }).uncheck();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('All saved').waitFor();
  await look(page, 'runtime');

  await tab('Lifecycle');
  await page.getByText('Publishing still needs').waitFor();
  await page.getByRole('button', { name: 'Publish', exact: true }).click();
  await page.getByText(/not-publishable/).waitFor();
  await look(page, 'not-publishable');
  await tab('Plans');
  await page.getByRole('checkbox', { name: /Unlimited/ }).check();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('All saved').waitFor();
  await tab('Lifecycle');
  await page.getByRole('button', { name: 'Publish', exact: true }).click();
  await page.getByRole('button', { name: 'Block' }).waitFor();
  await look(page, 'lifecycle');
  await tab('Scopes');
  await page.getByText('No scope', { exact: true }).waitFor();
  await page.getByLabel('New scope').fill('ticks.read');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByLabel('Description of ticks.read').fill('Read the ticks');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('All saved').waitFor();
  await look(page, 'scopes');
  for (const name of ['Revisions', 'Versions', 'History']) {
    await tab(name);
    await page.getByRole('tabpanel').getByText(/admin|1\.0\.0/).first().waitFor();
    await look(page, name.toLowerCase());
  }

  await page.getByRole('link', { name: /Developer/ }).click();
  await page.getByRole('link', { name: 'ServerSentEvents' }).waitFor();
  await look(page, 'developer');
  await page.getByRole('link', { name: 'ServerSentEvents' }).click();
  await page.getByRole('cell', { name: '/ticks' }).waitFor();
  await look(page, 'developer-topics');
  await tab('Code');
  await page.getByRole('tab', { name: /curl/i }).waitFor();
  await look(page, 'code');
  await tab('AsyncAPI');
  await shows(page, await (await call('GET', '/api/v1/dev/apis/ServerSentEvents@1.0.0/asyncapi?version=3.1.0&format=json')).json());
  await look(page, 'developer-asyncapi');

  await tab('Subscribe');
  await page.getByLabel('Its name').fill('dashboard');
  await page.getByRole('radio', { name: /Unlimited/ }).check();
  await look(page, 'subscribe');
  await page.getByRole('button', { name: 'Subscribe', exact: true }).click();
  await page.getByRole('button', { name: 'Make a key' }).click();
  const key = (await page.locator('.secret').innerText()).trim();
  assert.match(key, /^slk_/);
  await look(page, 'key');

  await tab('Try it');
  assert.equal(await page.getByLabel('API key').inputValue(), key, 'the page remembers the key that it has just made');
  await page.getByRole('button', { name: 'Start' }).click();
  const log = page.getByRole('log');
  await log.getByText('"s":').first().waitFor();
  await page.getByRole('combobox', { name: 'Chart a number' }).click();
  await page.getByRole('option', { name: 'n', exact: true }).click();
  await page.getByRole('img', { name: 'n over time' }).waitFor();
  await page.getByRole('button', { name: 'Drop the connection' }).click();
  await log.getByText(/comes back in \d+ ms with Last-Event-ID/).waitFor();
  await page.getByLabel('Filter').fill('note');
  await log.getByText(/resumed behind/).waitFor();
  await page.getByLabel('Filter').fill('gateway.live');
  await log.getByText(/Live again, \d+ events? of backlog before/).waitFor();
  await page.getByLabel('Filter').fill('');
  await page.getByRole('status', { name: 'State of the stream' }).getByText('live', { exact: true }).waitFor();
  // Contiguous over the cut: the provider numbers its events.
  await page.getByRole('switch', { name: 'Pause the list' }).check({ force: true });
  const numbers = (await log.innerText()).match(/"n":(\d+)/g).map((m) => Number(m.slice(4)));
  assert(numbers.length > 20, `${numbers.length} events shown`);
  numbers.slice(1).forEach((n, i) => assert.equal(n, numbers[i] - 1, 'each event once, newest first'));
  await look(page, 'try');

  await page.getByRole('link', { name: /Applications/ }).click();
  await page.getByRole('link', { name: 'dashboard' }).click();
  await page.getByText('ServerSentEvents 1.0.0').waitFor();
  assert.equal((await page.content()).includes(key), false, 'the key is shown once');
  await look(page, 'application');
  await page.goto(`${process.env.PORTAL_URL}apis/ServerSentEvents@1.0.0/feeds`);
  await page.getByRole('cell', { name: '/ticks' }).waitFor();
  await look(page, 'feeds');
  await tab('Plans');
  await page.getByRole('cell', { name: 'dashboard' }).waitFor();
  await look(page, 'plans');

  if (short) return;
  await page.setViewportSize({ width: 360, height: 740 });
  for (const [name, where] of [
    ['topics', 'apis/ServerSentEvents@1.0.0/topics'],
    ['asyncapi', 'apis/ServerSentEvents@1.0.0/definition'],
    ['scopes', 'apis/ServerSentEvents@1.0.0/scopes'],
    ['code', 'dev/ServerSentEvents@1.0.0/code'],
    ['runtime', 'apis/ServerSentEvents@1.0.0/runtime'],
    ['lifecycle', 'apis/ServerSentEvents@1.0.0/lifecycle'],
    ['try', 'dev/ServerSentEvents@1.0.0/try'],
    ['feeds', 'apis/ServerSentEvents@1.0.0/feeds'],
    ['apis', 'apis'],
  ]) {
    await page.goto(process.env.PORTAL_URL + where);
    await page.getByRole('heading', { level: 1 }).waitFor();
    await look(page, `${name}-narrow`);
  }
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.setViewportSize({ width: 1200, height: 850 });
  for (const where of ['apis', 'apis/ServerSentEvents@1.0.0/lifecycle', 'apis/ServerSentEvents@1.0.0/topics', 'apis/ServerSentEvents@1.0.0/definition', 'dev/ServerSentEvents@1.0.0/try', 'apis/nothing@1.0.0', 'nowhere']) {
    await page.goto(process.env.PORTAL_URL + where);
    await page.getByRole('heading').or(page.getByRole('alert')).first().waitFor();
    await look(page, `dark-${where.replaceAll(/\W+/g, '-')}`);
  }
});
