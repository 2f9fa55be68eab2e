// The line at the top: how old what is shown is, and why, ticking between messages.

import {declared, say} from "./declared.js"
import {$, setAttribute, setText} from "./dom.js"
import {held, paints} from "./parts.js"
import {paintPause} from "./pause.js"
import * as reach from "./reach.js"
import {fullTime, lasting} from "./times.js"

const SILENT_S = 12                 // the console speaks at least every 5 s
const SET_MS = 2000                 // the browser's clock was set, or its machine slept
const SERVER_SET_MS = 60000         // no message is that late: the console's clock was set back
let skew = null                     // browser clock minus the console's, ms
let zero = null                     // the browser's clock when the page's own began
let heardAt = performance.now()
let lostAt = null                   // when the websocket broke, on the page's clock

// A message came, which the console sent at `now`; by the page itself, or by the websocket.
export function heard(now, byWebsocket) {
  if (byWebsocket) reach.heard()
  heardAt = performance.now()
  lostAt = null
  if (zero === null || Math.abs(Date.now() - heardAt - zero) > SET_MS) skew = null
  zero = Date.now() - heardAt
  // The quickest message tells the clocks' difference best.
  const difference = Date.now() - Date.parse(now)
  skew = skew === null || difference > skew + SERVER_SET_MS ? difference : Math.min(skew, difference)
}
// The console's time, in whole seconds.
export const now = () => new Date(Math.floor((Date.now() - (skew ?? 0)) / 1000) * 1000)
export function lost() { lostAt ??= performance.now(); tick() }
export function found() { lostAt = null }

function paintHead() {
  const head = held.head
  if (!head) return
  setAttribute(document.body, "data-commit", head.commit)
  setAttribute(document.body, "data-as-of", head.as_of)
  const commit = $("#commit")
  setText(commit, head.commit && !head.frozen ? say("commit", {commit: head.commit.slice(0, 8)}) : "")
  setAttribute(commit, "title", head.commit ? `${head.commit}, as of ${head.as_of}` : "")
  paintPause()
  setText($("#viewers"), say(head.viewers === 1 ? "viewer" : "viewers", {n: head.viewers}))
  const count = $("#open-count")
  if (count) {
    count.hidden = !head.open
    setText(count, String(head.open))
    setAttribute(count, "title", head.open_words)
  }
  tick()
}

// Its state, and why it is so in words; without words all is well.
function health(head, {age, fed, silent, every}) {
  const failed = Object.entries(head.failed || {})
  if (reach.why()) return ["stale", reach.why()]
  if (lostAt !== null) return ["stale", say("lost")]
  if (silent > SILENT_S) return ["stale", say("silent", {silent: lasting(silent)})]
  // A moment that is held is never old, but what stands above it is of now.
  if (head.error) return ["stale", head.error]
  if (fed !== null && fed > declared.stale_s) return ["stale", say("nothing_new")]
  if (head.frozen) return ["frozen", say("frozen")]
  if (head.paused) return ["paused", ""]
  if (failed.length) return ["late", say("failed", {names: failed.map(([name]) => name.replaceAll("_", " ")).join(", "), why: failed[0][1]})]
  if (every && age > head.every_s + declared.stale_s) return ["late", say("late", {every})]
  if (fed === null) return ["waiting", head.polled ? say("unpublished") : ""]
  if (head.notice) return ["late", head.notice]
  return ["ok", ""]
}

export function tick() {
  const head = held.head || {}
  const ageOf = (iso) => iso ? Math.max(0, (Date.now() - (skew ?? 0) - Date.parse(iso)) / 1000) : null
  // What this tab shows may be older than what the console has: the age is that of the commit shown.
  const age = ageOf(head.as_of), fed = ageOf(head.fed_as_of)
  const every = head.every_s ? `${Math.round(head.every_s)} s` : null
  const silent = (performance.now() - heardAt) / 1000
  const [state, why] = health(head, {age, fed, silent, every})
  setText($("#age"), head.frozen && head.as_of ? say("frozen_at", {at: fullTime(head.as_of)})
    : age !== null ? say("age", {age: lasting(age)}) : say(fed === null ? "no_data" : "asking_tab"))
  setText($("#health"), why || (fed === null ? "" : every ? say("all_ok_every", {every}) : say("all_ok")))
  setAttribute(document.body, "data-health", state)
  document.body.style.setProperty("--stale-for", `"${say("stale", {age: age === null ? say("stale_empty") : lasting(age)})}"`)
  const isLost = lostAt !== null && performance.now() - lostAt > 4000
  if (!reach.isOpen() || silent > 2 * SILENT_S || isLost) reach.look(silent, isLost)
}

paints("head", paintHead)
