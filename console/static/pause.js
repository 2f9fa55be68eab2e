// A page that stands still under the eye, until somebody goes on. It has no address: that is what freeze is for.

import {tell} from "./choices.js"
import {say} from "./declared.js"
import {$, setAttribute, setText} from "./dom.js"
import {held} from "./parts.js"

const count = (name, n) => say(n === 1 ? `${name}_1` : `${name}_n`, {n})

function words({new: news}) {
  if (!news) return say("paused")
  const {orders, errors} = news
  return orders || errors ? say("paused_new", {orders: count("orders", orders), errors: count("errors", errors)}) : say("paused_none")
}

export function paintPause() {
  const paused = held.head?.paused, notice = $("#paused")
  notice.hidden = !paused
  setAttribute($("#pause"), "aria-pressed", Boolean(paused))
  // A moment that is held stands still already.
  $("#pause").disabled = Boolean(held.head?.frozen)
  if (!paused) return
  setText($("span", notice), words(paused))
  setText($("u", notice), say("go_on"))
}

export function pause() {
  if (!held.head?.frozen) tell({paused: !held.head?.paused})
}

$("#pause").addEventListener("click", pause)
$("#paused").addEventListener("click", pause)
