// The operator's page in headless Chromium; one JSON line per row.
//
// HEADWATER_URL and HEADWATER_TOKEN (an operator's) come from the environment; the arguments are
// the folder with node_modules, the browser, and a folder for screenshots. A row that does not hold
// says why in its line; the caller judges.

import { createRequire } from "node:module";

const [folder, executablePath, shots] = process.argv.slice(2);
const { chromium } = createRequire(`${folder}/package.json`)("playwright-core");
const { HEADWATER_URL: url, HEADWATER_TOKEN: token } = process.env;

const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--no-first-run"];
const browser = await chromium.launch({ executablePath, args: quiet });
const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
const strays = [];
const errors = [];
page.on("request", (request) => {
  if (!request.url().startsWith(url) && !request.url().startsWith("blob:")) strays.push(request.url());
});
page.on("pageerror", (error) => errors.push(String(error)));
page.on("dialog", (dialog) => dialog.accept());

function expect(held, said) {
  if (!held) throw new Error(JSON.stringify(said));
}

const text = (selector) => page.locator(selector).innerText();
const open = async (name) => {
  await page.getByRole("button", { name, exact: true }).click();
  await page.locator(`#${name.toLowerCase()}:not([hidden])`).waitFor();
};
const shoot = (name) => page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });

const rows = {
  async "a page without a token says what is missing"() {
    await page.goto(`${url}/admin`);
    await page.locator("#problem:not([hidden])").waitFor();
    expect((await text("#problem")).includes("token"), await text("#problem"));
  },
  async "the keyboard signs in and moves between sections"() {
    await page.locator("#token").focus();
    await page.keyboard.type(token);
    await page.keyboard.press("Enter");
    await page.locator("#traffic-newest tbody tr").first().waitFor();
    await page.getByRole("button", { name: "Spend", exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.locator("#spend:not([hidden])").waitFor();
    await open("Traffic");
  },
  async "traffic tells what was asked and how it went"() {
    await page.locator("#traffic-newest tbody tr").nth(3).waitFor();
    const newest = await text("#traffic-newest");
    for (const word of ["acme", "by-openai", "whole", "given again"]) expect(newest.includes(word), newest);
    expect((await page.locator("#traffic-chart rect").count()) > 0, "no bars");
    await shoot("traffic");
  },
  async "spend has a bar, a table and a file"() {
    await open("Spend");
    await page.locator("#spend-table tbody tr").first().waitFor();
    expect((await text("#spend-table")).includes("by-openai"), await text("#spend-table"));
    const waiting = page.waitForEvent("download");
    await page.locator("#spend-csv").click();
    const file = await (await waiting).createReadStream();
    let csv = "";
    for await (const part of file) csv += part;
    expect(csv.split("\n").length > 1 && csv.includes("by-openai"), csv);
    await shoot("spend");
  },
  async "quotas show a team's limits"() {
    await open("Quotas");
    await page.locator("#quotas-form input").fill("acme");
    await page.keyboard.press("Enter");
    await page.locator("#quotas-limits meter").first().waitFor();
    expect((await text("#quotas-limits")).includes("1,000,000"), await text("#quotas-limits"));
    expect((await text("#quotas-usage")).includes("by-openai"), await text("#quotas-usage"));
    await shoot("quotas");
  },
  async "models show the canary, and an old version is served again by a click"() {
    await open("Models");
    await page.locator("#models-served .badge").first().waitFor();
    expect((await text("#models-served")).includes("canary"), await text("#models-served"));
    await page.getByRole("button", { name: "Serve again" }).last().click();
    await page.getByRole("cell", { name: "by the admin page" }).waitFor();
    expect((await page.locator("#models-served .badge").count()) === 0, "the canary is still there");
    await shoot("models");
  },
  async "a key is made, shown once, and revoked"() {
    await open("Keys");
    await page.locator("#keys-form input[name=team]").fill("acme");
    await page.locator("#keys-form input[name=note]").fill("made by a test");
    await page.getByRole("button", { name: "Make a key" }).click();
    await page.locator("#keys-secret code").waitFor();
    const secret = await text("#keys-secret code");
    const asks = async () => (await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${secret}` } })).status;
    expect((await asks()) === 200, await asks());
    await shoot("keys");
    await page.getByRole("button", { name: /^Revoke / }).first().click();
    await page.locator("#keys-list .badge", { hasText: "revoked" }).first().waitFor();
    for (let tries = 0; tries < 200 && (await asks()) !== 401; tries++) await new Promise((done) => setTimeout(done, 50));
    expect((await asks()) === 401, await asks());
  },
  async "dark and narrow it is still a page"() {
    await page.emulateMedia({ colorScheme: "dark" });
    await page.setViewportSize({ width: 420, height: 800 });
    await open("Traffic");
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(wide <= 0, `${wide} px too wide`);
    await shoot("dark");
  },
  async "nothing of another place was asked for, and no script failed"() {
    expect(strays.length === 0, strays);
    expect(errors.length === 0, errors);
  },
};

for (const [row, act] of Object.entries(rows)) {
  try {
    await act();
    console.log(JSON.stringify({ row, ok: true }));
  } catch (error) {
    await shoot("failed");
    console.log(JSON.stringify({ row, ok: false, why: error.message, problem: await text("#problem").catch(() => "") }));
  }
}
await browser.close();
