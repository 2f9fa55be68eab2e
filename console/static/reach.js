// Why nothing comes from the console, where the page itself is there: a browser does not say why a websocket failed.

import {say} from "./declared.js"

const ASK_AFTER_S = 3         // a websocket that works is open by then, nearly always
const RELOAD_AFTER_S = 30     // a proxy that passes no websockets is not mended sooner
const SPEAKS_MS = 6000        // the console speaks at least every 5 s: one that answers and can be heard has by then
let words = ""                // why none comes; empty where nobody knows
let refused = false
let asking = false
let count = 0                 // of the words that came by the websocket of this page
let answered = null           // since when the console answers while no word comes

export function heard() { words = ""; count += 1; answered = null }
export const isOpen = () => count > 0
export const why = () => words

function renew(reason) {
  console.info(`the page is loaded again: ${reason}`)
  location.reload()
}

// Find out, and load the page again where that would help: once the console answers and takes this address. A page
// that slept, or a console that was busy, is heard again by itself: what was begun on the page would be lost.
export async function look(silentS, isLost) {
  if (asking || silentS < ASK_AFTER_S) return
  asking = true
  const before = count
  try {
    const answer = await fetch(`origin?host=${encodeURIComponent(location.host)}`, {cache: "no-store"})
    const allowed = answer.ok && (await answer.json()).allowed
    if (!answer.ok) {
      words = ""
      answered = null
    } else if (isOpen()) {
      if (count === before) {
        answered ??= performance.now()
        if (isLost || performance.now() - answered > SPEAKS_MS) renew(`no word for ${Math.round(silentS)} s`)
      }
    } else if (!allowed) {
      refused = true
      words = say("refused", {host: location.host})
    } else if (refused || silentS > RELOAD_AFTER_S) renew("its websocket did not open")
    else if (silentS > 4 * ASK_AFTER_S) words = say("no_websocket")
  } catch {
    words = ""
    answered = null
  }
  setTimeout(() => { asking = false }, 2000)
}
