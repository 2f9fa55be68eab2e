// Paints what the console sends, and lets the charts' own code in.

import {behind} from "./behind.js"
import {go, parameters, tell} from "./choices.js"
import {listen, scale} from "./controls.js"
import {$} from "./dom.js"
import {closer, tapped} from "./drill.js"
import "./boards.js"
import "./duty.js"
import * as head from "./head.js"
import "./keys.js"
import "./lists.js"
import {held, paint} from "./parts.js"
import "./tiles.js"
import "./toast.js"
import "./row.js"
import {point, pointOver, renew} from "./tip.js"
import {laid} from "./touch.js"
import "./twin.js"
import {clock, moment} from "./times.js"

let number = 0                      // of the last message

function take(text) {
  const message = JSON.parse(text)
  head.heard(message.now, number > 0)
  const gap = number && message.n > number + 1
  if (gap) tell({full: true})
  number = message.n
  // Beside fields that are old, new ones would tell what never was.
  const {parts = {}} = message, changed = gap ? {} : message.changed || {}, taken = []
  for (const [place, fields] of [...Object.entries(parts), ...Object.entries(changed)]) {
    const before = held[place]
    if (place in changed && !before) { tell({full: true}); continue }
    // A row that is here already comes as its key alone.
    if (place.startsWith("list.") && fields.rows) {
      const rows = new Map((before?.rows || []).map((row) => [row.key, row]))
      fields.rows = fields.rows.map((row) => typeof row === "string" ? rows.get(row) : row)
      if (fields.rows.includes(undefined)) { tell({full: true}); continue }
    }
    held[place] = place in changed ? {...before, ...fields} : fields
    taken.push(place)
  }
  for (const place of taken) paint(place)
  head.tick()
}

// The session lives on: what it said meanwhile is asked for again.
function found() { head.found(); tell({full: true}) }

// What code within the page calls: that of the charts' axes, and of what the websocket brings.
window.tillwatch = {take, lost: head.lost, found, clock, moment, point, pointOver, closer, tapped, laid, behind, go}

listen()
take($("#first").textContent)
// It was told; what is copied from here on was not too long.
if (parameters().has("cut")) {
  const next = parameters()
  next.delete("cut")
  history.replaceState({}, "", `?${next}`)
}
setInterval(head.tick, 500)
setInterval(renew, 500)
setInterval(scale, 2000)            // charts of a tab come when it is opened
