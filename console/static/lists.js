// Lists, by the columns that the console declares. Rows keep their element, so that a new one slides in beside those
// that stay.

import {declared, fill, say} from "./declared.js"
import {$, dotted, make, setAttribute, setText} from "./dom.js"
import {held, paints} from "./parts.js"
import {fullTime, when, zone} from "./times.js"

const kept = {}                     // list -> key -> {text, element}

const badge = (kind, word) => dotted(make("span", {}, word), kind, word, declared.worst)
const time = (iso) => make("time", {datetime: iso, title: fullTime(iso)}, when(iso))
const known = (value) => value !== null && value !== undefined

function cell(column, row, list) {
  const value = row[column.field]
  const css = [column.css, column.kind === "number" ? "num" : "", column.kind === "time" && known(value) ? "time" : ""]
  const element = make("td", {class: css.filter(Boolean).join(" ") || null,
    title: column.hover ? fill(column.hover, row) : null})
  if (!known(value)) element.append(say("none"))
  else if (column.kind === "time") element.append(time(value))
  else if (column.kind === "badge") element.append(badge(column.of, value))
  // Where the whole row is chosen by a click, the link is only there for another tab of the browser.
  else if (column.kind === "link") element.append(make("a", {href: row.href, "data-go": !list.choose}, value))
  else element.append(String(value))
  return element
}

function tableRow(list, row) {
  return make("tr", {class: list.choose ? `choosable ${row.state ?? ""}` : null, "data-choose": list.choose || null,
    "aria-selected": row.chosen ? "true" : null}, ...list.columns.map((column) => cell(column, row, list)))
}

// An incident below another: who and how bad, what, since when.
function item(list, row) {
  const {of} = list.columns.find((column) => column.kind === "badge")
  return make("li", {class: `incident ${row.state}`},
    make("p", {class: "line"}, badge(of, row.severity), make("b", {}, row.entity), make("span", {class: "state"}, row.state_words)),
    make("p", {class: "words", title: row.description}, make("a", {href: row.href, "data-go": true}, row.description)),
    make("p", {class: "quiet"}, time(row.starts_at), ` · ${row.alerts}`,
      ...(row.firings > 1 ? [` · ${say("newest")} `, time(row.newest_at)] : [])))
}

function paintList(name) {
  const part = held[`list.${name}`], list = declared.lists[name]
  const place = $(`[data-list="${name}"]`)
  if (!part || !place) return
  const before = kept[name] || new Map(), now = new Map()
  const elements = part.rows.map((row) => {
    const text = JSON.stringify(row) + zone()
    const same = before.get(row.key)
    if (same && same.text === text) { now.set(row.key, same); return same.element }
    const element = list.items ? item(list, row) : tableRow(list, row)
    setAttribute(element, "data-produced-at", row.produced_at)
    setAttribute(element, "data-key", row.key)
    if (!same && before.size && row.severity === declared.worst) element.classList.add("arrived")
    now.set(row.key, {text, element})
    return element
  })
  kept[name] = now
  if (!elements.length) {
    const words = list.empty || say("nothing")
    elements.push(list.items ? make("li", {class: "empty"}, words)
      : make("tr", {class: "empty"}, make("td", {colspan: list.columns.length}, words)))
  }
  if (part.more) elements.push(make("li", {class: "quiet"}, make("a", {href: part.more_href, "data-go": true}, say("more", {n: part.more}))))
  place.replaceChildren(...elements)
  setAttribute(place, "data-produced-at", part.produced_at)
  setAttribute(place, "data-late", part.stale)
  if (part.words !== undefined) setText($(`[data-words="${name}"]`), part.words)
}

paints("list", paintList)
