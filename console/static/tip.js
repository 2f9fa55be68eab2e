// What all charts over time of a tab show of the time that one of them is pointed at, in one place beside the pointer.

import {declared, say} from "./declared.js"
import {$, make} from "./dom.js"
import {held} from "./parts.js"
import {MINUTE_MS, clock} from "./times.js"
import {isCoarse} from "./touch.js"
import {sources} from "./twin.js"

const ASIDE = 16, EDGE = 8
let mouse = {x: 0, y: 0}
let pointed = null, told = null     // at what, and by which of the two below

const number = (value, {unit, digits, least = digits}) => {
  if (value === undefined || value === null || Number.isNaN(value)) return say("none")
  const text = Math.abs(value).toLocaleString("en-US", {minimumFractionDigits: least, maximumFractionDigits: digits})
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

// Beside the pointer, or where a narrow screen has no room there, above or below it.
function show(...said) {
  const tip = $("#tip")
  tip.hidden = false
  tip.replaceChildren(...said)
  const {offsetWidth: width, offsetHeight: height} = tip, {x, y} = mouse
  const beside = x + ASIDE + width > innerWidth ? x - ASIDE - width : x + ASIDE
  const left = beside >= 0 ? beside : Math.max(EDGE, Math.min(x - width / 2, innerWidth - width - EDGE))
  const below = y + ASIDE + height + EDGE <= innerHeight
  const top = beside >= 0 ? Math.min(y + ASIDE, innerHeight - height - EDGE) : below ? y + ASIDE : y - ASIDE - height
  tip.style.left = `${left}px`
  tip.style.top = `${Math.max(EDGE, top)}px`
}

function pointing(event, by) {
  pointed = event
  told = by
  $("#tip").hidden = true
  return event
}

// A chart of a drill-down at a time: each part of what it shows there, and their sum.
function linesOver(chart, doc, at) {
  const source = sources(chart.dataset.chart).find(({data}) => data.start && data.n)
  const figure = source && [...doc.get_model_by_name(chart.dataset.chart).references()].find((one) => one.type === "Figure")
  if (!figure) return []
  const {data} = source, [unit, least, most] = figure.tags
  const closes = (index) => data.closes?.[index] ?? data.start[index] + MINUTE_MS
  const rows = Array.from(data.start, (_, index) => index).filter((index) => data.start[index] <= at && at < closes(index))
  const written = (value) => number(value, {unit: "", digits: most, least})
  const sum = rows.length ? `${written(rows.reduce((all, index) => all + data.n[index], 0))} ${unit}` : say("none")
  const names = data.part ?? data.name ?? []
  const words = (index) => data.made_of?.[index] ? `${names[index]} (${data.made_of[index]})` : names[index]
  const parts = names.length ? rows.map((index) => line("", words(index), written(data.n[index]))) : []
  return [[data.start[rows[0]], line("total", chart.getAttribute("aria-label"), sum), ...parts]]
}

// `event` is Bokeh's, of the pointer over a chart of a drill-down; null when it leaves.
export function pointOver(event) {
  if (!pointing(event, pointOver)) return
  const {origin: {document: doc, x_range: {start, end}}, x} = event
  if (x < start || x > end) return
  const charts = [...document.querySelectorAll(`#${held.view.tab} [data-chart]`)]
    .filter((chart) => chart.checkVisibility() && !chart.dataset.empty)
  const found = charts.flatMap((chart) => linesOver(chart, doc, x))
  const from = found.map(([since]) => since).find((since) => since !== undefined) ?? x
  show(make("b", {}, clock(from, true)), make("table", {}, ...found.flatMap(([, ...lines]) => lines)))
}

// `event` is Bokeh's, of the pointer over a live chart; null when it leaves.
export function point(event) {
  if (!pointing(event, point)) return
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
  // Under a finger a click shows this, and leads nowhere.
  const way = leads && !isCoarse ? [make("p", {class: "limit"}, say("tip_leads", {tab: leads}))] : []
  show(make("b", {}, clock(from, true)), table, ...said, ...happened(doc, from), ...way)
}

// Figures go on under a pointer that rests.
export function renew() {
  if (!pointed) return
  const view = window.Bokeh.index.find_one(pointed.origin)
  told(pointed.origin.document && view?.el.checkVisibility() ? pointed : null)
}

// What Bokeh tells of a pointer is of its canvas.
document.addEventListener("pointermove", (event) => { mouse = {x: event.clientX, y: event.clientY} }, {capture: true})
