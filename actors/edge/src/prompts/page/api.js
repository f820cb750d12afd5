// The way to the API: the caller's token and team, and errors in the API's own words.

const TOKEN = "headwater-token";
const TEAM = "headwater-team";

// Kept as the operator's page keeps it: as long as the tab is open, and only in it.
export const session = {
  get token() { return sessionStorage.getItem(TOKEN) || ""; },
  set token(value) { sessionStorage.setItem(TOKEN, value); },
  get team() { return sessionStorage.getItem(TEAM) || ""; },
  set team(value) { sessionStorage.setItem(TEAM, value); },
};

// What the API refused, with the field that it is about.
export class Refusal extends Error {
  constructor(status, error, retryAfter) {
    super(error.message);
    this.status = status;
    this.param = error.param || "";
    this.code = error.code || "";
    this.findings = error.findings || [];
    this.retryAfter = retryAfter;
  }
}

const WITHOUT_WORDS = {
  401: "A token is needed: type it in above, and press “Use”.",
  403: "Your role does not allow this.",
  404: "This is not there.",
  409: "Somebody was faster: this has changed since you loaded it.",
  503: "The store cannot be reached just now; try again in a moment.",
};

function refusal(answer, text) {
  let error = {};
  try { error = JSON.parse(text).error || {}; } catch { /* not in the API's shape */ }
  const plain = WITHOUT_WORDS[answer.status] || `${answer.status} ${answer.statusText}`;
  return new Refusal(answer.status, { ...error, message: error.message || plain }, answer.headers.get("retry-after"));
}

export async function ask(method, path, body, signal) {
  const headers = {};
  if (session.token) headers.authorization = `Bearer ${session.token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const team = session.team ? `${path.includes("?") ? "&" : "?"}team=${encodeURIComponent(session.team)}` : "";
  let answer;
  try {
    answer = await fetch(path + team, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { message: "The server cannot be reached; look at your connection and try again." });
  }
  const text = await answer.text();
  if (!answer.ok) throw refusal(answer, text);
  return text ? JSON.parse(text) : null;
}

const part = encodeURIComponent;
// The path of what belongs to a prompt.
export const at = (name, ...rest) => ["/v1/prompts", part(name), ...rest.map((one) => part(one))].join("/");

// A prompt's head, or null when there is none of that name yet.
export async function headOf(name, signal) {
  try {
    return await ask("GET", at(name), undefined, signal);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

// The address of a view, to be shared.
export function to(...parts) {
  const path = parts.map((one) => part(one)).join("/");
  return `#/${path}${session.team ? `?team=${part(session.team)}` : ""}`;
}

export const versionsOf = async (name, signal) => (await ask("GET", at(name, "versions"), undefined, signal)).data;
