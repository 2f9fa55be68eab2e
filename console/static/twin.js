// What a chart shows, as a table: for who cannot see it, or wants the figures.

import {addressBehind} from "./behind.js"
import {say} from "./declared.js"
import {$, make, setText} from "./dom.js"
import {clock} from "./times.js"

// Columns of a chart's source that only place and colour what is drawn.
const DRAWN = /^(middle|closes|alpha|color|bottom|top|end|index|whole|words|left|right|.*_color|.*_alpha)$/
const TIMES = new Set(["minute", "start"])

function sources(name) {
  const root = window.Bokeh?.documents[0]?.get_model_by_name(name)
  if (!root) return []
  // What has a name of its own is not the chart's: what happened meanwhile.
  return [...root.references()].filter((one) => one.type === "ColumnDataSource" && !one.name)
}

function rows(chart, {data}) {
  const known = (name) => Array.from(data[name]).some((value) => !Number.isNaN(value))
  const names = Object.keys(data).filter((name) => !DRAWN.test(name) && (name !== "then" || known(name)))
  const length = names.length ? data[names[0]].length : 0
  const cell = (name, at) => {
    const value = data[name][at]
    if (TIMES.has(name)) {
      const href = name === "minute" ? addressBehind(chart, value) : null
      return href ? make("a", {href, "data-go": true, "data-close": true}, clock(value, true)) : clock(value, true)
    }
    return typeof value === "number" ? (isNaN(value) ? "" : String(+value.toPrecision(12))) : String(value)
  }
  return [names, Array.from({length}, (_, at) => names.map((name) => cell(name, at)))]
}

function fill(name) {
  const tables = sources(name).map((source) => rows(name, source)).filter(([names, lines]) => names.length > 1 && lines.length)
  $("#twin .scroll").replaceChildren(...(tables.length ? tables.map(([names, lines]) => make("table", {},
    make("thead", {}, make("tr", {}, ...names.map((one) => make("th", {scope: "col"}, one.replaceAll("_", " "))))),
    make("tbody", {}, ...lines.map((line) => make("tr", {}, ...line.map((said) => make("td", {}, said)))))))
    : [make("p", {class: "empty"}, say("nothing"))]))
  // Opened before the first figures came, it takes them when they do; afterwards it stands still to be read.
  if (!tables.length) setTimeout(() => { if ($("#twin").open) fill(name) }, 500)
}

export function showTwin(name, title) {
  setText($("#twin h2"), title)
  $("#twin").showModal()
  fill(name)
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-twin]")
  if (button) showTwin(button.dataset.twin, button.dataset.title)
  const close = event.target.closest("[data-close]")
  if (close) close.closest("dialog").close()
})
