// The prompt editor's page in headless Chromium; one JSON line per row.
//
// HEADWATER_URL and HEADWATER_TOKEN (an admin's of a team) come from the environment; HEADWATER_TEAM
// names the team when the token is an operator's, and HEADWATER_MODEL a model of the gateway that
// answers, without which no eval is run. The arguments are the folder with node_modules, the
// browser, and a folder for screenshots. A row that does not hold says why in its line; the caller
// judges.

import { createRequire } from "node:module";

const [folder, executablePath, shots] = process.argv.slice(2);
const { chromium } = createRequire(`${folder}/package.json`)("playwright-core");
const { HEADWATER_URL: url, HEADWATER_TOKEN: token, HEADWATER_TEAM: team = "", HEADWATER_MODEL: model = "" } = process.env;

const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--no-first-run"];
const browser = await chromium.launch({ executablePath, args: quiet });
const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
page.setDefaultTimeout(20000);
const strays = [];
const errors = [];
page.on("request", (request) => {
  if (!request.url().startsWith(url) && !request.url().startsWith("blob:")) strays.push(request.url());
});
page.on("pageerror", (error) => errors.push(String(error)));
page.on("console", (message) => {
  if (/Content.Security.Policy/i.test(message.text())) errors.push(message.text());
});
const warnings = [];
page.on("dialog", (dialog) => {
  warnings.push(dialog.type());
  dialog.accept();
});

// A name of its own, so the test runs against a server that has others.
const name = `acme-greeting-${Date.now().toString(36)}`;
const set = `${name}-cases`;
// In two parts: nothing that looks like a key stands in this file.
const secret = ["AKIA", "Q3EGRIYWL5Y7NKB2"].join("");

function expect(held, said) {
  if (!held) throw new Error(JSON.stringify(said));
}
async function until(holds, said) {
  for (let tries = 0; tries < 200; tries++) {
    if (await holds()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(JSON.stringify(await said()));
}

async function api(method, path, body) {
  const query = team ? `${path.includes("?") ? "&" : "?"}team=${team}` : "";
  const answer = await fetch(`${url}${path}${query}`, {
    method, headers: { authorization: `Bearer ${token}`, "content-type": "application/json" }, body: body && JSON.stringify(body) });
  expect(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
}

const text = (selector) => page.locator(selector).innerText();
const press = (label, within = page) => within.getByRole("button", { name: label, exact: true }).click();
const dialog = () => page.locator("dialog[open]");
const shoot = (shot) => page.screenshot({ path: `${shots}/${shot}.png`, fullPage: true });
const open = async (tab) => {
  await page.locator(".tabs").getByRole("link", { name: new RegExp(`^${tab}`) }).click();
  await page.locator(".tabs [aria-current]", { hasText: tab }).waitFor();
  await page.locator("main:not([aria-busy])").waitFor();
};
const write = (place, content) => page.locator("textarea[data-template]").nth(place).fill(content);
// Loads the page anew, so that nothing of the view before is taken for this one.
let visits = 0;
const visit = async (place) => {
  await page.goto(`${url}/prompts?${++visits}#${place}`);
  await page.locator("main:not([aria-busy]) > :is(h2, div, section, form)").first().waitFor();
};
const tooWide = () => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
const commit = async (message) => {
  await press("Commit");
  await dialog().getByLabel("What changes, and why").fill(message);
  await dialog().locator("button[type=submit]").click();
};
const production = async () => (await api("GET", `/v1/prompts/${name}`)).production;

const rows = {
  async "a page without a token says what is missing"() {
    await page.goto(`${url}/prompts`);
    await page.locator("#problem:not([hidden])").waitFor();
    expect((await text("#problem")).toLowerCase().includes("token"), await text("#problem"));
  },
  async "the keyboard signs in"() {
    await page.locator("#token").focus();
    await page.keyboard.type(token);
    if (team) {
      await page.keyboard.press("Tab");
      await page.keyboard.type(team);
    }
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "New prompt" }).waitFor();
    expect(await page.locator("#problem").isHidden(), await text("#problem"));
  },
  async "a new prompt is begun in the dialog, which wants a good name"() {
    await press("New prompt");
    await dialog().getByLabel("Name").fill("Not a Name");
    await press("Begin", dialog());
    expect(await dialog().isVisible(), "a bad name was taken");
    await dialog().getByLabel("Name").fill(name);
    await page.keyboard.press("Enter");
    await page.locator(".editor").waitFor();
    expect((await text("h2")) === name, await text("h2"));
    expect(new URL(page.url()).hash.startsWith(`#/${name}/edit`), page.url());
  },
  async "an undeclared variable is told at its template, and declared by a press"() {
    await write(0, "You greet customers of {{ company }}.\nBe short.\nBe kind.\n");
    await press("Add a message");
    await write(1, "Greet {{ customer }}.");
    const note = page.locator(".message .notes:not([hidden])").first();
    await note.waitFor();
    expect((await note.innerText()).includes("company"), await note.innerText());
    await press("Add variables used in templates");
    await page.getByRole("group", { name: "customer", exact: true }).waitFor();
    await page.getByRole("group", { name: "company", exact: true }).waitFor();
  },
  async "the preview follows the text and the sample values"() {
    await page.locator("[data-sample=customer]").fill("Grace");
    await page.locator(".output", { hasText: "Greet Grace." }).waitFor();
    await write(1, "Say hello to {{ customer }}.");
    await page.locator(".output", { hasText: "Say hello to Grace." }).waitFor();
    await shoot("editor");
  },
  async "the text is seen in front of its marks"() {
    const look = async (content) => {
      await write(1, content);
      return (await page.locator(".sheet").nth(1).screenshot()).toString("base64");
    };
    expect((await look("{{ aaaaaa }}")) !== (await look("{{ mmmmmm }}")), "other text looks the same");
    await write(1, "Say hello to {{ customer }}.");
    await page.locator(".mirror .tag.value", { hasText: "customer" }).waitFor();
  },
  async "an error of syntax is told at its template, with its line"() {
    await write(0, "You greet customers of {{ company }}.\nBe short.\nBe {{ kind.\n");
    const note = page.locator(".message").first().locator(".notes .error");
    await note.waitFor();
    await until(async () => (await note.innerText()).includes("syntax"), () => note.innerText());
    await page.locator(".message").first().locator(".mirror .marked").waitFor();
    await shoot("error");
  },
  async "limits of a variable are told at the variable, and messages move"() {
    await write(0, "You greet customers of {{ company }}.\nBe short.\nBe kind.\n");
    const company = page.getByRole("group", { name: "company", exact: true });
    await company.getByLabel("Most characters").fill("many");
    await company.locator(".notes .error").waitFor();
    await company.getByLabel("Most characters").fill("40");
    await page.locator(".output", { hasText: "Say hello to Grace." }).waitFor();
    await press("Add a message");
    await write(2, "Thank you.");
    await press("Move message 3 up");
    expect((await page.locator("textarea[data-template]").nth(1).inputValue()) === "Thank you.", "it did not move");
    await press("Remove message 2");
    expect((await page.locator("textarea[data-template]").count()) === 2, "it was not removed");
  },
  async "unsaved changes survive a reload"() {
    await page.locator("[data-sample=customer]").fill("Grace");
    await until(() => page.locator(".output:not(.stale)", { hasText: "Say hello to Grace." }).isVisible(), () => text(".output"));
    await page.reload();
    expect(warnings.includes("beforeunload"), "nothing warned");
    await page.locator(".note", { hasText: "Your unsaved changes are back" }).waitFor();
    await page.locator(".output", { hasText: "Say hello to Grace." }).waitFor();
    expect((await page.locator("textarea[data-template]").nth(1).inputValue()) === "Say hello to {{ customer }}.", "the text is lost");
  },
  async "a commit with a secret is refused, with its field and line"() {
    await write(0, `You greet customers of {{ company }}.\nBe short.\nThe key is ${secret}.\n`);
    await page.locator(".message").first().locator(".notes .finding").waitFor();
    await commit("greets customers");
    await dialog().locator(".said:not([hidden])").waitFor();
    const said = await dialog().innerText();
    for (const word of ["secret", "messages[0].content", "line 3"]) expect(said.includes(word), said);
    expect(!said.includes(secret), "the secret itself is shown");
    await shoot("secret");
    await press("Go there", dialog());
    const focused = await page.evaluate(() => document.activeElement.dataset.template);
    expect(focused === "messages[0].content", focused);
  },
  async "without it, version 1 is committed"() {
    await write(0, "You greet customers of {{ company }}.\nBe short.\nBe kind.\n");
    if (model) {
      await page.locator("summary", { hasText: "Model settings" }).click();
      await page.getByLabel("Model", { exact: true }).fill(model);
    }
    await commit("greets customers");
    await page.locator("#told:not([hidden])").waitFor();
    expect((await text("#told")).includes("Version 1"), await text("#told"));
    await page.locator(".tabs").getByRole("link", { name: "Versions" }).waitFor();
  },
  async "a second version is committed, with a tag"() {
    await page.locator(".output").waitFor();
    await write(0, "You greet customers of {{ company }}.\nBe very short.\nBe kind.\nSay goodbye, too.\n");
    await press("Commit");
    await dialog().getByLabel("What changes, and why").fill("says goodbye");
    await dialog().getByLabel("Tags").fill("polite, tested");
    await dialog().locator("button[type=submit]").click();
    await page.locator("#told:not([hidden])", { hasText: "Version 2" }).waitFor();
  },
  async "who is slower is told so, and keeps the text"() {
    const { document } = await api("GET", `/v1/prompts/${name}/versions/2`);
    await write(1, "Say hello to {{ customer }}, please.");
    document.messages[0].content += "Sign with the company's name.\n";
    await api("POST", `/v1/prompts/${name}/versions`, { document, message: "meanwhile", parent: 2, expected_newest: 2 });
    await commit("politer");
    await press("Reload and keep my changes", dialog());
    await page.locator(".note", { hasText: "began from version 2" }).waitFor();
    expect((await page.locator("textarea[data-template]").nth(1).inputValue()).endsWith("please."), "the text is lost");
    await press("Discard them");
    await until(async () => (await page.locator("textarea[data-template]").nth(1).inputValue()) === "Say hello to {{ customer }}.", () => text(".editor"));
  },
  async "two versions stand side by side, their words marked"() {
    await open("Versions");
    await page.getByLabel("From", { exact: true }).selectOption("1");
    await page.getByLabel("To", { exact: true }).selectOption("2");
    await press("Compare");
    await page.locator("#diff").waitFor();
    expect(page.url().includes(`/${name}/versions/1..2`), page.url());
    const words = await page.locator("#diff ins").allInnerTexts();
    expect(words.some((word) => word.trim() === "very"), words);
    await press("Next change →");
    expect(await page.evaluate(() => document.activeElement.classList.contains("change")), "no change has the focus");
    expect((await text("main")).includes("polite"), "the tag is not shown");
    await shoot("diff");
    await page.goBack();
    await page.locator("#diff").waitFor({ state: "detached" });
  },
  async "version 1 passes the gates, and is promoted"() {
    await open("Promotion");
    await page.locator("#begin").getByLabel("Version").selectOption("1");
    await page.locator("#begin").getByLabel("Reason").fill("the first one");
    await press("Start the promotion");
    await page.locator("#promotion .gate").nth(4).waitFor();
    await page.locator("#promotion[data-stage=ready]").waitFor();
    await shoot("promotion");
    await press("Promote");
    await until(async () => (await production()) === 1, () => text("main"));
    await page.getByText("Version 1 is served.").waitFor();
  },
  async "version 2 is promoted after it, and is watched"() {
    // Nothing was in production before, so the first promotion has no guard and ends at once.
    await page.locator("#begin").waitFor();
    await page.locator("#begin").getByLabel("Version").selectOption("2");
    await page.locator("#begin").getByLabel("Reason").fill("says goodbye");
    await press("Start the promotion");
    await page.locator("#promotion").waitFor();
    const withdraw = page.getByRole("button", { name: "Withdraw", exact: true });
    expect((await withdraw.getAttribute("aria-disabled")) === null, "an admin may not withdraw");
    await page.locator("#promotion[data-stage=ready]").waitFor();
    const override = page.getByRole("button", { name: "Override", exact: true });
    expect((await override.getAttribute("title")).includes("passed"), await override.getAttribute("title"));
    await press("Promote");
    await until(async () => (await production()) === 2, () => text("main"));
    await page.locator("#promotion[data-stage=guard]").waitFor();
    await page.locator("[data-gate=guard].running").waitFor();
    await shoot("guard");
  },
  async "a step back has its reason"() {
    await press("Roll back");
    await dialog().getByLabel("Back to").selectOption("1");
    await press("Roll back", dialog());
    expect(await dialog().isVisible(), "it went back without a reason");
    await dialog().getByLabel("Reason").fill("customers were confused");
    await press("Roll back", dialog());
    await page.getByText("Version 1 is served.").waitFor();
    expect((await production()) === 1, await production());
    await page.getByText("taken back").first().waitFor();
  },
  async "the history tells every move"() {
    await open("History");
    const told = await text("main table");
    for (const word of ["the first one", "says goodbye", "customers were confused", "production"]) expect(told.includes(word), told);
    const utc = await page.locator("main table time").first().getAttribute("title");
    expect(utc.endsWith("UTC"), utc);
    await shoot("history");
  },
  async "an experiment is planned; what is wrong is told at its field"() {
    await open("Experiments");
    await page.getByRole("button", { name: "New experiment" }).click();
    const plan = page.locator("#plan");
    await plan.waitFor();
    await plan.getByLabel("Days").fill("1000");
    await press("Start the experiment");
    expect((await plan.locator("[aria-invalid]").count()) === 2, await plan.innerText());
    await shoot("plan");
    await plan.getByLabel("Name").first().fill("goodbye");
    await plan.getByLabel("Days").fill("7");
    const versions = plan.getByLabel("Version");
    await versions.nth(0).selectOption("1");
    await versions.nth(1).selectOption("2");
    await press("Start the experiment");
    await page.locator("#experiment[data-state=running]").waitFor();
    expect((await text("#experiment")).includes("7 days"), await text("#experiment"));
    expect((await text("#experiment")).includes("thumbs_up"), await text("#experiment"));
    await shoot("experiment");
  },
  async "it is stopped with a reason, and listed"() {
    await press("Stop");
    await dialog().getByLabel("Reason").fill("it was a test");
    await press("Stop", dialog());
    await page.locator("#experiment[data-state=ended]").waitFor();
    expect((await text("#experiment")).includes("stopped"), await text("#experiment"));
    await page.getByRole("link", { name: "← All experiments" }).click();
    await page.locator("main table", { hasText: "goodbye" }).waitFor();
  },
  async "a golden set is made, and a wrong one is refused in words"() {
    await page.getByRole("link", { name: "Golden sets" }).first().click();
    await press("New golden set");
    await dialog().getByLabel("Name").fill(set);
    await press("Begin", dialog());
    const cases = page.getByLabel("Cases as JSON");
    await cases.fill("[{");
    await press("Save");
    await page.locator(".said:not([hidden])", { hasText: "JSON" }).waitFor();
    await cases.fill(JSON.stringify([1, 2].map((id) => ({
      id: `c${id}`, variables: { company: "Acme", customer: "Ann" }, messages: [], expected: "o", judge: { type: "contains" } }))));
    await press("Save");
    await page.locator("#told:not([hidden])", { hasText: "2 cases" }).waitFor();
  },
  async "an eval tells what it will cost"() {
    await visit(`/${name}/evals`);
    await page.locator("#start-eval").waitFor();
    await page.getByLabel("Golden set").selectOption(set);
    if (!model) {
      await until(async () => /Estimate: 2 cases|no estimate/.test(await text("#estimate")), () => text("#start-eval"));
      return;
    }
    await page.locator("#estimate", { hasText: "Estimate: 2 cases" }).waitFor();
    await press("Run");
    await page.locator("#eval[data-state=done]").waitFor();
    expect((await page.locator("#eval tbody tr").count()) === 2, await text("#eval"));
    await page.locator("figure .bar-one").first().waitFor();
    await shoot("eval");
  },
  async "gates are set, and the roles are shown"() {
    await visit(`/${name}/settings`);
    await page.locator("#settings").waitFor();
    await page.getByLabel("Guard after promotion, in minutes").fill("5");
    await press("Save");
    await page.locator("#told:not([hidden])", { hasText: "saved" }).waitFor();
    const { gates } = await api("GET", `/v1/prompts/${name}`);
    expect(gates.guard_ms === 300000, gates);
    await shoot("settings");
    await page.getByRole("link", { name: "Access" }).click();
    await page.locator("#access").waitFor();
    await shoot("access");
  },
  async "the list finds a prompt by its name"() {
    await page.getByRole("link", { name: "Prompts" }).click();
    await page.getByLabel("Search by name").fill(name);
    await until(async () => (await page.locator("main tbody tr").count()) === 1, () => text("main"));
    await shoot("list");
    await page.getByRole("link", { name }).click();
    await page.locator(".editor").waitFor();
  },
  async "light and dark, wide and narrow, it fits"() {
    const places = ["", `/${name}/edit`, `/${name}/versions/1..2`, `/${name}/promotion`, `/${name}/evals`, `/${name}/experiments/goodbye`,
      `/${name}/experiments/-new`, `/${name}/history`, `/${name}/settings`, "/-/golden", "/-/access"];
    for (const [colorScheme, width, height] of [["light", 1280, 900], ["dark", 1280, 900], ["light", 390, 844], ["dark", 390, 844]]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height });
      for (const place of places) {
        await visit(place || "/");
        if (place.endsWith("/edit")) await page.locator(".output .rendered").first().waitFor();
        expect((await tooWide()) <= 0, `${place} at ${width}: ${await tooWide()} px too wide`);
        await shoot(`${place.split("/").slice(-1)[0].replace("..", "-to-") || "prompts"}-${colorScheme}-${width}`);
      }
    }
  },
  async "every control has a label"() {
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1280, height: 900 });
    for (const place of ["edit", "promotion", "evals", "experiments/-new", "settings"]) {
      await visit(`/${name}/${place}`);
      const bare = await page.evaluate(() => [...document.querySelectorAll("input, select, textarea")]
        .filter((one) => one.labels.length === 0 && !one.getAttribute("aria-label")).map((one) => one.outerHTML));
      expect(bare.length === 0, bare);
    }
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
    await shoot(`failed-${Object.keys(rows).indexOf(row)}`);
    console.log(JSON.stringify({ row, ok: false, why: error.message, problem: await text("#problem").catch(() => "") }));
    // A dialog that stayed open would hide what the rows after it say.
    await page.keyboard.press("Escape");
  }
}
await browser.close();
