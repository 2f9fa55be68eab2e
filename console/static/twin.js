// What a chart shows, as a table: for who cannot see it, or wants the figures.

import {addressBehind} from "./behind.js"
import {toggle} from "./choices.js"
import {say} from "./declared.js"
import {$, make, setText} from "./dom.js"
import {behind} from "./drill.js"
import {fillExports} from "./lists.js"
import {clock} from "./times.js"

// Columns of a chart's source that only place and colour what is drawn, or say what a click on it chooses.
const DRAWN = /^(middle|closes|alpha|color|bottom|top|end|index|whole|words|left|right|x0|x1|choice|.*_color|.*_alpha)$/
const TIMES = new Set(["minute", "start"])
// HoloViews gives its columns in any order: what a row is comes first, then words, figures, and what it is made of.
const ORDER = ["name", "minute", "start", "words", "figures", "then", "made_of"]
const isWord = (column) => Array.from(column).some((value) => typeof value === "string")
const place = (name, column) => ORDER.indexOf(ORDER.includes(name) ? name : isWord(column) ? "words" : "figures")
// Columns that are there for some charts only.
const SPARE = new Set(["then", "made_of"])

export function sources(name) {
  const root = window.Bokeh?.documents[0]?.get_model_by_name(name)
  if (!root) return []
  // What has a name of its own is not the chart's: what happened meanwhile.
  return [...root.references()].filter((one) => one.type === "ColumnDataSource" && !one.name)
}

// What a click on a bar of the chart chooses, its row in the table does too.
function chooses({data}, at, filter) {
  const value = filter && data.choice?.[at]
  if (data.closes && data.start) return () => behind(data.start[at], data.closes[at], value && filter, value)
  return value === undefined || value === "" ? null : () => toggle(filter, value)
}

function rows(chart, source, filter) {
  const {data} = source
  const known = (name) => Array.from(data[name]).some((value) => value !== "" && !Number.isNaN(value))
  const names = Object.keys(data).filter((name) => !DRAWN.test(name) && (!SPARE.has(name) || known(name)))
    .sort((one, other) => place(one, data[one]) - place(other, data[other]))
  const length = names.length ? data[names[0]].length : 0
  const cell = (name, at) => {
    const value = data[name][at]
    if (TIMES.has(name)) {
      const href = name === "minute" ? addressBehind(chart, value) : null
      return href ? make("a", {href, "data-go": true, "data-close": true}, clock(value, true)) : clock(value, true)
    }
    return typeof value === "number" ? (isNaN(value) ? "" : String(+value.toPrecision(12))) : String(value)
  }
  // What is drawn of nothing only holds a place.
  const drawn = Array.from({length}, (_, at) => at).filter((at) => data.alpha?.[at] !== 0)
  return [names, drawn.map((at) => ({cells: names.map((name) => cell(name, at)), choose: chooses(source, at, filter)}))]
}

function row({cells: [first, ...others], choose}) {
  const head = make("td", {}, choose ? make("button", {type: "button", class: "quiet link"}, first) : first)
  if (choose) head.firstChild.addEventListener("click", () => { $("#twin").close(); choose() })
  return make("tr", {}, head, ...others.map((said) => make("td", {}, said)))
}

function fill(name, filter) {
  const found = sources(name).map((source) => rows(name, source, filter))
  const tables = found.filter(([names, lines]) => names.length > 1 && lines.length)
  $("#twin .scroll").replaceChildren(...(tables.length ? tables.map(([names, lines]) => make("table", {},
    make("thead", {}, make("tr", {}, ...names.map((one) => make("th", {scope: "col"}, one.replaceAll("_", " "))))),
    make("tbody", {}, ...lines.map(row))))
    : [make("p", {class: "empty"}, say("nothing"))]))
  // Opened before the first figures came, it takes them when they do; afterwards it stands still to be read.
  if (!tables.length) setTimeout(() => { if ($("#twin").open) fill(name, filter) }, 500)
}

export function showTwin({twin, title, chooses: filter, file}) {
  setText($("#twin h2"), title)
  const files = $("#twin .exports")
  files.hidden = file === undefined
  fillExports(files, twin)
  $("#twin").showModal()
  fill(twin, filter)
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-twin]")
  if (button) showTwin(button.dataset)
  const close = event.target.closest("[data-close]")
  if (close) close.closest("dialog").close()
})
