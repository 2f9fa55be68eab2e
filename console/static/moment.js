// The console as it was: a moment is chosen in the zone that is shown, and stands in the address.

import {choose} from "./choices.js"
import {say} from "./declared.js"
import {$, setAttribute, setText} from "./dom.js"
import {now} from "./head.js"
import {fromInput, localInput} from "./times.js"

let typed = null                    // the moment in the field: another zone writes it otherwise

function open(on) {
  $("#moment").hidden = !on
  setAttribute($("#moment-open"), "aria-expanded", String(on))
}

// The field shows the moment that is shown, unless another is being typed.
export function paintMoment(at, turned) {
  const field = $("#moment-at")
  if (document.activeElement !== field && at && !typed) field.value = localInput(at)
  if (turned && (typed || at)) field.value = localInput((typed || new Date(at)).toISOString())
}

export function chooseMoment() {
  const field = $("#moment-at")
  open(true)
  if (!field.value) field.value = localInput(now().toISOString())
  field.focus()
}

function shown(event) {
  event.preventDefault()
  const at = fromInput($("#moment-at").value)
  if (isNaN(at)) { $("#notice").hidden = false; setText($("#notice"), say("no_moment")); return }
  document.activeElement.blur()
  typed = null
  open(false)
  choose((next) => next.set("at", at.toISOString().replace(".000Z", "Z")))
}

$("#moment-open").addEventListener("click", () => { if ($("#moment").hidden) chooseMoment(); else open(false) })
$("#moment").addEventListener("submit", shown)
$("#moment-at").addEventListener("input", ({target}) => { const at = fromInput(target.value); typed = isNaN(at) ? null : at })
