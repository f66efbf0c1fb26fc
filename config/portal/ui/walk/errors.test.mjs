// The server's words stand at the field that is wrong.
import assert from 'node:assert/strict';
import test from 'node:test';

import { base, browse, call, look, provider, said, signIn, visit } from './rig.mjs';

test('bad input is told at its field', async (t) => {
  const page = await visit(t, await browse(t));
  await signIn(page, 'admin');
  await call('POST', '/api/v1/apis', { apiVersion: 'sluice/v1', kind: 'API', metadata: { name: 'taken' }, spec: { context: '/taken', version: '1.0.0', endpoint: provider, topics: [{ name: '/ticks', security: 'none' }] } });
  let n = 0;

  await t.test('a new API', async () => {
    const good = { Name: 'fresh', Context: '/fresh', Version: '1.0.0', Endpoint: provider };
    const bad = [
      ['Name', 'has space', /name|letter|A-Z/i],
      ['Name', '-first', /./],
      ['Name', 'x'.repeat(61), /60/],
      ['Context', '/api', /keeps/],
      ['Context', '/a//b', /./],
      ['Context', '/echo{version}', /version/],
      ['Context', '/taken', /./],
      ['Version', '../1', /./],
      ['Version', 'v'.repeat(31), /30/],
      ['Endpoint', 'ftp://x', /http/],
      ['Endpoint', 'http://u:p@h/', /./],
      ['Endpoint', 'http://h/?q=1', /./],
    ];
    for (const [label, value, want] of bad) {
      await page.goto(`${base}apis/new`);
      for (const [k, v] of Object.entries(good)) await page.getByRole('textbox', { name: k, exact: true }).fill(k === label ? value : v);
      await page.getByRole('button', { name: 'Create', exact: true }).click();
      await page.locator('[class*="InputWrapper-error"]').first().waitFor();
      assert.match(await said(page, label), want, `${label} ${value}`);
      n++;
    }
    await look(page, 'new-error');
  });

  await t.test('topics', async () => {
    for (const [name, label, value] of [
      ['a*', 'Name', undefined],
      ['ok', 'Backend path', 'http://elsewhere/'],
      ['q/{s}', 'Pattern of {s}', '['],
      ['kept', 'Kept for', 'for ever'],
    ]) {
      await page.goto(`${base}apis/taken@1.0.0/topics`);
      await page.getByLabel('New topic').fill(name);
      await page.getByRole('button', { name: 'Add', exact: true }).click();
      await page.getByRole('button', { name: `sub /${name}` }).click();
      if (value) await page.getByRole('textbox', { name: label }).fill(value);
      await page.getByRole('button', { name: 'Save' }).click();
      await page.locator('[class*="InputWrapper-error"]').first().waitFor();
      assert((await said(page, label)).length > 5, `${label} ${value ?? name}`);
      n++;
    }
    await look(page, 'topics-error');
  });

  await t.test('runtime', async () => {
    for (const [label, value] of [
      ['Heartbeat', '1h'],
      ['Retry', 'soon'],
      ['For', '99d'],
    ]) {
      await page.goto(`${base}apis/taken@1.0.0/runtime`);
      await page.getByRole('textbox', { name: label, exact: true }).fill(value);
      await page.getByRole('button', { name: 'Save' }).click();
      await page.locator('[class*="InputWrapper-error"]').first().waitFor();
      assert((await said(page, label)).length > 5, `${label} ${value}`);
      n++;
    }
    await page.goto(`${base}apis/taken@1.0.0/runtime`);
    await page.getByRole('checkbox', { name: 'http', exact: true }).uncheck();
    await page.getByRole('checkbox', { name: 'https' }).uncheck();
    await page.getByText('needs at least one transport').waitFor();
    assert(await page.getByRole('button', { name: 'Save' }).isDisabled());
    n++;
  });

  await t.test('a document is judged at its line', async () => {
    await page.goto(`${base}apis/taken@1.0.0/definition`);
    await page.getByText('Source').click();
    const editor = page.getByRole('textbox', { name: 'AsyncAPI document' });
    await editor.click();
    await page.keyboard.press('Control+Home');
    await page.keyboard.type('nonsense: 1\n');
    await page.getByText(/line 1, column 1/).waitFor();
    assert(await page.getByRole('button', { name: 'Save as' }).isDisabled());
    await look(page, 'definition-error');
    n++;
  });

  await t.test('a change that came too late', async () => {
    await page.goto(`${base}apis/taken@1.0.0/overview`);
    await page.getByLabel('Description').fill('mine');
    const { headers } = await call('GET', '/api/v1/apis/taken@1.0.0');
    const api = await (await call('GET', '/api/v1/apis/taken@1.0.0')).json();
    api.metadata.description = 'theirs';
    delete api.status;
    const put = await fetch(new URL('/api/v1/apis/taken@1.0.0', base), {
      method: 'PUT',
      headers: { Authorization: `Basic ${Buffer.from(`admin:${process.env.PORTAL_PASSWORD}`).toString('base64')}`, 'Content-Type': 'application/json', 'If-Match': headers.get('ETag') },
      body: JSON.stringify(api),
    });
    assert.equal(put.status, 200);
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Not saved', { exact: true }).waitFor();
    assert.equal(await page.getByLabel('Description').inputValue(), 'mine', 'what was typed stays');
    n++;
  });
  assert(n >= 15, `${n} bad inputs`);
});
