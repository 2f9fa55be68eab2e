// Why nothing comes from the console, where the page itself is there: a browser does not say why a websocket failed.

import {say} from "./declared.js"

const ASK_AFTER_S = 3         // a websocket that works is open by then, nearly always
const RELOAD_AFTER_S = 30     // a proxy that passes no websockets is not mended sooner
let opened = false            // whether any word came by the websocket of this page
let words = ""                // why none comes; empty where nobody knows
let refused = false
let asking = false

export function heard() { opened = true; words = "" }
export const isOpen = () => opened
export const why = () => words

// Find out, and load the page again where that would help: once the console answers and takes this address.
export async function look(silentS) {
  if (asking || silentS < ASK_AFTER_S) return
  asking = true
  try {
    const answer = await fetch(`origin?host=${encodeURIComponent(location.host)}`, {cache: "no-store"})
    const allowed = answer.ok && (await answer.json()).allowed
    if (!answer.ok) words = ""
    else if (opened) location.reload()
    else if (!allowed) {
      refused = true
      words = say("refused", {host: location.host})
    } else if (refused || silentS > RELOAD_AFTER_S) location.reload()
    else if (silentS > 4 * ASK_AFTER_S) words = say("no_websocket")
  } catch { words = "" }
  setTimeout(() => { asking = false }, 2000)
}
