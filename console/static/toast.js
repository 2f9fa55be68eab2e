// One line of what just happened, on whichever tab: the worst that is new, and what somebody did. It leaves by itself.

import {say} from "./declared.js"
import {$, make} from "./dom.js"
import {held, paints} from "./parts.js"

const STAYS_MS = 8000
const told = new Set()              // keys of what was told, or was there when the page was opened
let ready = false, known = false    // whether what comes now is news
let shown = null, waiting = null, timer = null

function leave() {
  shown = null
  $("#toast").replaceChildren()
  if (waiting) show(waiting)
}

function stay() {
  clearTimeout(timer)
  timer = setTimeout(leave, STAYS_MS)
}

function show(news) {
  shown = news
  waiting = null
  const {href, words, worst} = news
  const line = make("p", {class: worst ? "worst" : null, title: words},
    href ? make("a", {href, "data-go": true}, words) : make("span", {}, words),
    make("button", {type: "button", class: "link", "aria-label": say("toast_close")}, "\u2715"))
  $("#toast").replaceChildren(line)
  stay()
}

// What many say at once is one line: the newest, and how many there are.
function tell(news, worst) {
  if (!news.length) return
  const [{href, words}] = news
  const one = {href, worst, words: news.length > 1 ? say("toast_more", {n: news.length, words}) : words}
  // The worst is not pushed aside by what somebody did.
  if (shown?.worst && !worst) waiting = one
  else show(one)
}

function fresh(news) {
  const found = news.filter(({key}) => !told.has(key))
  for (const {key} of found) told.add(key)
  return found
}

function paintNews() {
  const {news} = held, fatal = fresh(news.fatal), acts = fresh(news.acts)
  const here = new URLSearchParams(location.search).get("incident")
  if (known) tell(acts, false)
  if (ready) tell(fatal.filter(({key, quiet}) => !quiet && key !== here), true)
  ready ||= news.ready
  known ||= news.known
}

// Whether there was something to close.
export function closeToast() {
  if (!shown) return false
  clearTimeout(timer)
  leave()
  return true
}

const place = $("#toast")
place.addEventListener("click", closeToast)
// Who reads it, or is about to follow it, is not hurried.
for (const kind of ["pointerenter", "focusin"]) place.addEventListener(kind, () => clearTimeout(timer))
for (const kind of ["pointerleave", "focusout"]) place.addEventListener(kind, () => { if (shown) stay() })
paints("news", paintNews)
