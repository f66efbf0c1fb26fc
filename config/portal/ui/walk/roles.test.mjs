// What each role sees, and that the page hides nothing that the server would allow or allows nothing that it would refuse.
import assert from 'node:assert/strict';
import test from 'node:test';

import { base, browse, call, look, provider, signIn, visit } from './rig.mjs';

const secret = 'a-long-enough-password';

test('roles', async (t) => {
  for (const name of ['creator', 'publisher', 'subscriber']) await call('POST', '/api/v1/users', { name, password: secret, roles: [name] });
  await call('POST', '/api/v1/apis', { apiVersion: 'sluice/v1', kind: 'API', metadata: { name: 'roles' }, spec: { context: '/roles', version: '1.0.0', endpoint: provider, topics: [{ name: '/ticks', security: 'none' }] } });
  const browser = await browse(t);

  await t.test('a creator creates and cannot publish', async (t) => {
    const page = await visit(t, browser);
    await signIn(page, 'creator', secret);
    await page.getByRole('link', { name: 'Create API' }).first().waitFor();
    await page.getByRole('link', { name: 'Create API' }).first().click();
    await page.getByRole('button', { name: 'Create', exact: true }).waitFor();
    assert.equal(await page.getByRole('button', { name: 'Create and publish' }).count(), 0);
    await page.goto(`${base}apis/roles@1.0.0/lifecycle`);
    await page.getByText('needs the role publisher').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Publish', exact: true }).count(), 0);
    await look(page, 'creator-lifecycle');
  });

  await t.test('a publisher publishes and cannot change', async (t) => {
    const page = await visit(t, browser);
    await signIn(page, 'publisher', secret);
    await page.getByRole('link', { name: 'roles' }).waitFor();
    assert.equal(await page.getByRole('link', { name: 'Create API' }).count(), 0);
    await page.goto(`${base}apis/roles@1.0.0/topics`);
    await page.getByText('/ticks').first().waitFor();
    assert.equal(await page.getByRole('button', { name: 'Save' }).count(), 0);
    await page.goto(`${base}apis/roles@1.0.0/lifecycle`);
    await page.getByRole('button', { name: 'Publish', exact: true }).click();
    await page.getByRole('button', { name: 'Block' }).waitFor();
  });

  await t.test('a subscriber has no publisher side', async (t) => {
    const page = await visit(t, browser);
    await signIn(page, 'subscriber', secret);
    await page.getByRole('link', { name: /Developer/ }).waitFor();
    assert.equal(await page.getByRole('link', { name: /Publisher/ }).count(), 0);
    assert.equal(await page.getByRole('link', { name: /Users/ }).count(), 0);
    assert.equal(await page.getByRole('link', { name: /Plans/ }).count(), 0);
    for (const where of ['apis', 'apis/new', 'apis/import', 'apis/roles@1.0.0', 'users', 'plans', 'plans/~new', 'plans/AsyncGold']) {
      await page.goto(base + where);
      await page.getByText('This page is not for your role').waitFor();
    }
    await look(page, 'not-allowed');
    await page.goto(`${base}dev`);
    await page.getByRole('link', { name: 'roles' }).waitFor();
  });
});
