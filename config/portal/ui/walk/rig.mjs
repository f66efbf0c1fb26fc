// What the walks share: a browser, a page that notes what it should not do, screenshots, and the accessibility check.
// The gateway under test is told by the environment: PORTAL_URL, PORTAL_PASSWORD, PROVIDER_URL, OUT (a folder for screenshots), CHROMIUM.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';

import AxeBuilder from '@axe-core/playwright';
import { chromium } from 'playwright-core';

export const { PORTAL_URL: base, PORTAL_PASSWORD: password, PROVIDER_URL: provider, OUT: out, CHROMIUM: path } = process.env;
for (const [name, value] of Object.entries({ PORTAL_URL: base, PORTAL_PASSWORD: password, PROVIDER_URL: provider, OUT: out, CHROMIUM: path })) assert(value, `${name} is not set`);
mkdirSync(out, { recursive: true });

/** short leaves out what takes long: the check for accessibility, and the pages in other sizes and colours. */
export const short = process.env.SHORT === '1';

const origin = new URL(base).origin;

/** browse starts a browser; it ends with the test. */
export async function browse(t) {
  const browser = await chromium.launch({ executablePath: path, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  t.after(() => browser.close());
  return browser;
}

/** visit opens a page that fails the test if it asks for anything of another origin, breaks its policy or throws. */
export async function visit(t, browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 850 }, reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const wrong = [];
  page.on('request', (r) => r.url().startsWith(origin) || r.url().startsWith('data:') || wrong.push(`asked for ${r.url()}`));
  page.on('pageerror', (e) => wrong.push(`threw ${e.message}`));
  // A refused request is logged by the browser itself; the page shows it, so that is no fault.
  page.on('console', (m) => m.type() === 'error' && !m.text().startsWith('Failed to load resource') && wrong.push(`logged ${m.text()}`));
  t.after(() => assert.deepEqual(wrong, [], 'what the page did wrong'));
  return page;
}

/** signIn signs somebody in and waits for the portal. */
export async function signIn(page, name, secret = password) {
  await page.goto(base);
  await page.getByRole('textbox', { name: 'Name' }).fill(name);
  await page.locator('input[type=password]').fill(secret);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
}

let shots = 0;

/** look takes a screenshot and, if there is time, wants no serious finding of axe and nothing wider than the screen. */
export async function look(page, name) {
  await page.locator('[role="status"][aria-live="polite"]').first().waitFor({ state: 'hidden' }); // what is still loading
  await page.screenshot({ path: `${out}/${String(++shots).padStart(2, '0')}-${name}.png`, fullPage: true });
  if (short) return;
  const found = await new AxeBuilder({ page }).analyze();
  const serious = found.violations.filter((v) => ['serious', 'critical'].includes(v.impact));
  assert.deepEqual(serious.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(' | ')}`), [], `accessibility of ${name}`);
  const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - window.innerWidth);
  assert(wide <= 0, `${name} is ${wide} px wider than the screen`);
}

/** said is what stands at a field as its error. */
export const said = (page, label, exact = false) => page.getByRole('textbox', { name: label, exact }).first().locator('xpath=ancestor::*[contains(@class,"InputWrapper-root")][1]').locator('[class*="InputWrapper-error"]').innerText();

/** call asks the management API as an administrator. */
export async function call(method, where, body, headers) {
  const answer = await fetch(origin + where, {
    method,
    headers: { Authorization: `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`, ...(body && { 'Content-Type': 'application/json' }), ...headers },
    body: body && JSON.stringify(body),
  });
  assert(answer.ok || answer.status === 409, `${method} ${where}: ${answer.status} ${await answer.clone().text()}`);
  return answer;
}

/** told in other words on the page: what is the same for every stream, and what says how a credential is sent. */
const inOtherWords = /\/\$ref$|\/bindings\/http\/(method|bindingVersion)$|\/x-auth-type$|\/servers\/[^/]+\/(host|pathname|x-sluice-scheme)$|\/securitySchemes\/[^/]+\/(in|scheme|bearerFormat|type)$/;

/** shows waits until the page shows an AsyncAPI document, and wants every text and number of it there. */
export async function shows(page, doc) {
  await page.getByRole('region', { name: 'Channels' }).waitFor();
  const text = await page.locator('main').textContent();
  const leaves = (v, at) => (typeof v === 'object' && v !== null ? Object.entries(v).flatMap(([k, x]) => leaves(x, `${at}/${k}`)) : [[at, v]]);
  const all = leaves(doc, '').filter(([at, v]) => ['string', 'number'].includes(typeof v) && !inOtherWords.test(at));
  assert(all.length > 5, JSON.stringify(doc));
  assert.deepEqual(all.filter(([, v]) => !text.includes(String(v))), [], 'what of the document the page does not show');
}
