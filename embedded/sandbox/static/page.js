const main = document.getElementById("main"), fresh = document.getElementById("fresh");
const answer = document.getElementById("answer");
const source = new WeakMap(); // what the server sent of a part: unchanged parts stay as they are, frames and all

// ---- moments, in the zone of whoever reads

const part = (options) => (at) => new Intl.DateTimeFormat(undefined, options).format(at);
const two = (number) => String(number).padStart(2, "0");
const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
const time = (at) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
const long = part({ weekday: "long", year: "numeric", month: "long", day: "numeric" });
const short = part({ year: "numeric", month: "short", day: "numeric" });
const month = part({ month: "long", day: "numeric" });
function pretty(at, otherwise) {
  const near = [[-1, "yesterday"], [0, "today"], [1, "tomorrow"]];
  const found = near.find(([days]) => day(new Date(Date.now() + days * 86400e3)) === day(at));
  return found ? found[1] : otherwise(at);
}
function ago(at) {
  const seconds = (at - Date.now()) / 1000;
  const [unit, span] = [["day", 86400], ["hour", 3600], ["minute", 60]].find(([, span]) => Math.abs(seconds) >= span)
    ?? ["second", 1];
  return new Intl.RelativeTimeFormat().format(Math.round(seconds / span), unit);
}
const tokens = {
  clock: (at) => (day(at) === day(new Date()) ? time(at) : `${day(at)} ${time(at)}`),
  date_num: day,
  date_slash: part({ year: "numeric", month: "2-digit", day: "2-digit" }),
  date_long: long,
  date_long_full: part({ year: "numeric", month: "long", day: "numeric" }),
  date_long_pretty: (at) => pretty(at, long),
  day_divider_pretty: (at) => pretty(at, long),
  date: month,
  date_pretty: (at) => pretty(at, month),
  date_short: short,
  date_short_pretty: (at) => pretty(at, short),
  time: part({ timeStyle: "short" }),
  time_secs: part({ timeStyle: "medium" }),
  ago,
};
function localise(root) {
  for (const element of root.querySelectorAll("time")) {
    const at = new Date(element.dateTime), form = element.dataset.form;
    const known = [...form.matchAll(/\{(\w+)\}/g)].every(([, token]) => token in tokens);
    if (known) element.textContent = form.replace(/\{(\w+)\}/g, (_, token) => tokens[token](at));
  }
}

// ---- what is new takes the place of what was there, part by part

function remember(element) {
  source.set(element, element.outerHTML);
  if ("parts" in element.dataset) for (const child of element.children) remember(child);
}
function patch(there, next) {
  const sent = source.get(next);
  if (source.get(there) === sent) return there;
  if (!("parts" in there.dataset && "parts" in next.dataset)) {
    there.replaceWith(next);
    localise(next);
    return next;
  }
  const had = new Map([...there.children].map((child) => [child.id, child]));
  let at = there.firstElementChild;
  for (const child of [...next.children]) {
    const old = had.get(child.id);
    had.delete(child.id);
    if (old && old !== at) there.insertBefore(old, at);
    const placed = old ? patch(old, child) : there.insertBefore(child, at);
    if (!old) localise(placed);
    at = placed.nextElementSibling;
  }
  for (const gone of had.values()) gone.remove();
  source.set(there, sent);
  return there;
}

let shown = "", asked = 0;
async function refresh() {
  const turn = ++asked;
  let text;
  try {
    text = await (await fetch("/fragment", { cache: "no-cache" })).text();
  } catch {
    fresh.textContent = "The sandbox does not answer; this is what it showed last.";
    return;
  }
  fresh.textContent = "Refreshed every 2 s.";
  if (text === shown || turn !== asked) return;
  shown = text;
  const next = document.createElement("main");
  next.dataset.parts = "";
  next.innerHTML = text;
  for (const child of next.children) remember(child);
  source.set(next, next.innerHTML);
  const open = [...main.querySelectorAll("details[open]")].map((element) => element.id);
  const focus = document.activeElement?.id;
  patch(main, next);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focus && document.activeElement?.id !== focus) document.getElementById(focus)?.focus();
}

async function ask(path, body, method = "POST") {
  const headers = { "content-type": "application/json" };
  try {
    const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    answer.textContent = response.ok ? "" : (await response.json()).detail;
  } catch {
    answer.textContent = "The sandbox does not answer.";
  }
  await refresh();
}
addEventListener("click", (event) => {
  const button = event.target.closest("button, .action");
  if (!button) return;
  const { action, block, fault } = button.dataset;
  if (action) {
    const { channel, ts } = button.closest("[data-ts]").dataset;
    const user = document.getElementById("person").value;
    ask("/-/press", { channel, ts, action_id: action, block_id: block, user });
  } else if (fault) ask("/faults", JSON.parse(fault));
  else if ("off" in button.dataset) ask("/faults", undefined, "DELETE");
});

document.getElementById("zone").textContent =
  `Times are of ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`;
for (const child of main.children) remember(child);
source.set(main, main.innerHTML);
localise(main);
setInterval(() => { if (!document.hidden) refresh(); }, 2000);
