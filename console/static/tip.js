// What all live charts show of the minute that one of them is pointed at, in one place beside the pointer.

import {declared, say} from "./declared.js"
import {$, make} from "./dom.js"
import {held} from "./parts.js"
import {MINUTE_MS, clock} from "./times.js"

let mouse = {x: 0, y: 0}
let pointed = null

const number = (value, {unit, digits}) => {
  if (value === undefined || value === null || Number.isNaN(value)) return say("none")
  const text = Math.abs(value).toLocaleString("en-US", {minimumFractionDigits: digits, maximumFractionDigits: digits})
  return `${value < 0 ? "\u2212" : ""}${unit}${text.replaceAll(",", "\u202f")}`
}

const line = (kind, ...cells) => make("tr", {class: kind}, ...cells.map((text) => make("td", {}, text)))

// The values of a chart at a row of its source: each column, their sum where there are several, and what stood there
// at the time that is compared with.
function linesOf(chart, data, at) {
  const values = chart.values.map((name) => data[name][at])
  const total = values.some(Number.isNaN) ? NaN : values.reduce((sum, value) => sum + value, 0)
  const whole = values.length === 1 ? number(values[0], chart) : chart.apart ? "" : number(total, chart)
  const lines = [line("total", chart.title, whole)]
  if (values.length > 1) chart.values.forEach((name, index) => lines.push(line("", name, number(values[index], chart))))
  const then = data.then[at]
  if (!Number.isNaN(then)) lines.push(line("past", say(`then_${held.view?.compare || "before"}`), number(then, chart)))
  return lines
}

function happened(doc, from) {
  const incidents = doc.get_model_by_name("incidents").data, marks = doc.get_model_by_name("marks").data
  const words = []
  Array.from(incidents.start).forEach((start, index) => {
    if (start < from + MINUTE_MS && incidents.end[index] > from) words.push(incidents.words[index])
  })
  Array.from(marks.at).forEach((at, index) => {
    if (at >= from && at < from + MINUTE_MS) words.push(`${clock(at)} ${marks.words[index]}`)
  })
  return words.map((text) => make("p", {}, text))
}

// `event` is Bokeh's, of the pointer over a live chart; null when it leaves.
export function point(event) {
  const tip = $("#tip")
  pointed = event
  tip.hidden = !event
  if (!event) return
  const doc = event.origin.document, from = Math.floor(event.x / MINUTE_MS) * MINUTE_MS
  const table = make("table")
  for (const [name, chart] of Object.entries(declared.charts)) {
    const data = chart.tab === (held.view?.tab || declared.home) && doc.get_model_by_name(name)?.renderers[0].data_source.data
    if (!data) continue
    const at = Array.from(data.minute).indexOf(from)
    if (at >= 0) table.append(...linesOf(chart, data, at))
  }
  const limits = event.origin.center.filter((one) => one.type === "Span" && one.name)
  const said = limits.map(({name}) => make("p", {class: "limit"}, name))
  const leads = declared.tabs[declared.charts[event.origin.name]?.leads]?.title
  const way = leads ? [make("p", {class: "limit"}, say("tip_leads", {tab: leads}))] : []
  tip.replaceChildren(make("b", {}, clock(from, true)), table, ...said, ...happened(doc, from), ...way)
  const {offsetWidth: width, offsetHeight: height} = tip
  tip.style.left = `${mouse.x + 16 + width > innerWidth ? mouse.x - 16 - width : mouse.x + 16}px`
  tip.style.top = `${Math.max(8, Math.min(mouse.y + 16, innerHeight - height - 8))}px`
}

// Figures go on under a pointer that rests.
export function renew() {
  if (!pointed) return
  const chart = pointed.origin.document && $(`[data-chart="${pointed.origin.name}"]`)
  point(chart?.checkVisibility() ? pointed : null)
}

// What Bokeh tells of a pointer is of its canvas.
document.addEventListener("pointermove", (event) => { mouse = {x: event.clientX, y: event.clientY} }, {capture: true})
