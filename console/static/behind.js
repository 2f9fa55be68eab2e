// What is behind a minute of a live chart: the rows of it, or the incident whose strip was clicked.

import {follow} from "./controls.js"
import {declared} from "./declared.js"
import {MINUTE_MS} from "./times.js"
import {isCoarse} from "./touch.js"

// A strip of a moment is thinner than a fingertip.
const NEAR_MS = MINUTE_MS / 2

const model = (name) => window.Bokeh?.documents[0]?.get_model_by_name(name)
const iso = (ms) => new Date(ms).toISOString().replace(".000Z", "Z")

// Where the rows of a minute of a chart are, `part` being the column that was meant; null where no tab lists them.
export function addressBehind(name, minute, part = -1) {
  const chart = declared.charts[name], plot = model(name)
  if (!chart?.leads || !plot) return null
  const {start, end} = plot.x_range, until = minute + MINUTE_MS
  const since = until - chart.minutes * MINUTE_MS
  const query = new URLSearchParams({tab: chart.leads, from: iso(Math.min(start, since)), to: iso(end), brush: `${iso(since)}~${iso(until)}`})
  const [filter, values] = chart.parted
  if (filter && values[part]) query.set(filter, values[part])
  return `?${query}`
}

// The column of a minute that a height lies in; -1 where it lies above them all.
function partAt(name, minute, y) {
  const {values} = declared.charts[name], {data} = model(name).renderers[0].data_source
  const at = Array.from(data.minute).indexOf(minute)
  let top = 0
  return at < 0 ? -1 : values.findIndex((column) => y <= (top += data[column][at] || 0))
}

// The newest of the incidents that were there.
function incidentAt(x) {
  const {start, end, incident} = model("incidents").data
  const there = Array.from(incident).map((id, at) => [start[at], id, end[at]])
    .filter(([since, , until]) => since - NEAR_MS <= x && x <= until + NEAR_MS)
  return there.sort(([one], [other]) => other - one)[0]?.[1]
}

// `event` is Bokeh's, of a click on a live chart. What is drawn of the minute is nearer than the strip behind it.
export function behind({x, y, origin}) {
  // Under a finger a tap shows the figures; the rows of the chart's table lead on.
  if (isCoarse) return
  const minute = Math.floor(x / MINUTE_MS) * MINUTE_MS, {name} = origin
  const leads = Boolean(declared.charts[name]?.leads), part = leads ? partAt(name, minute, y) : -1
  const incident = part < 0 ? incidentAt(x) : undefined
  const address = incident ? `?${new URLSearchParams({tab: "alerts", incident})}` : addressBehind(name, minute, part)
  if (address) follow(address)
}
