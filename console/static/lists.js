// Lists, by the columns that the console declares. Rows keep their element, so that a new one slides in beside those
// that stay.

import {choose} from "./choices.js"
import {declared, fill, say} from "./declared.js"
import {$, dotted, keepingFocus, make, setAttribute, setText} from "./dom.js"
import {held, paints} from "./parts.js"
import {fullTime, when, zone} from "./times.js"

const kept = {}                     // list -> key -> {text, element}
const shownFor = {}                 // list -> the address that its rows were painted for

const badge = (kind, word) => dotted(make("span", {}, word), kind, word, declared.worst)
const time = (iso) => make("time", {datetime: iso, title: fullTime(iso)}, when(iso))
const known = (value) => value !== null && value !== undefined

function cell(column, row, list) {
  const value = row[column.field]
  const css = [column.css, column.kind === "number" ? "num" : "", column.kind === "time" && known(value) ? "time" : ""]
  // A figure or a time says what it is where a row takes several lines, as on a phone: its head stands far away there.
  const named = column.kind === "number" || column.kind === "time" ? column.head : null
  const element = make("td", {class: css.filter(Boolean).join(" ") || null, "data-head": named,
    "data-none": named && !known(value),
    title: column.hover ? fill(column.hover, row) : null})
  if (!known(value)) element.append(say("none"))
  else if (column.kind === "time") element.append(time(value))
  else if (column.kind === "badge") element.append(badge(column.of, value))
  // Where the whole row is chosen by a click, the link is only there for another tab of the browser.
  else if (column.kind === "link" && row[column.leads]) element.append(make("a", {href: row[column.leads],
    "data-go": list.choose ? false : column.ranged ? "ranged" : true}, value))
  else element.append(String(value))
  return element
}

function tableRow(list, row) {
  return make("tr", {class: list.choose ? `choosable ${row.state ?? ""}` : list.whole ? "choosable" : null,
    "data-choose": list.choose || null, "data-event": list.whole ? row.event ?? row.key : null, "data-value": list.choose ? row.value ?? row.key : null, "data-whole": list.whole,
    tabindex: list.choose || list.whole ? "0" : null,
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

// Rows stand still under whoever reads them: scrolled, or with text of theirs selected.
function isRead(place) {
  const scroller = place.closest(".rows, .list")
  const chosen = getSelection()
  return Boolean(scroller?.scrollTop) || (chosen && !chosen.isCollapsed && place.contains(chosen.anchorNode))
}

// Brings the children of a place to `elements`, and touches none that stays: focus and selection live on.
function bring(place, elements) {
  const wanted = new Set(elements)
  let at = place.firstChild
  const skip = () => { while (at && !wanted.has(at)) { const next = at.nextSibling; at.remove(); at = next } }
  for (const element of elements) {
    skip()
    if (element === at) at = at.nextSibling
    else place.insertBefore(element, at)
  }
  skip()
}

function paintList(name) {
  const part = held[`list.${name}`], list = declared.lists[name]
  const place = $(`[data-list="${name}"]`)
  if (!part || !place) return
  const release = $(`[data-release="${name}"]`)
  // What was chosen anew is another list; what only goes on waits until it is asked for.
  const same = shownFor[name] === location.search
  if (same && kept[name]?.size && isRead(place)) {
    const fresh = part.rows.filter((row) => !kept[name].has(row.key)).length
    release.hidden = false
    setText(release, fresh ? say("fresh", {n: fresh}) : say("held"))
    return
  }
  release.hidden = true
  shownFor[name] = location.search
  const before = kept[name] || new Map(), now = new Map()
  const elements = part.rows.map((row) => {
    const text = JSON.stringify(row) + zone()
    const there = before.get(row.key)
    if (there?.text === text) { now.set(row.key, there); return there.element }
    const element = list.items ? item(list, row) : tableRow(list, row)
    setAttribute(element, "data-produced-at", row.produced_at)
    setAttribute(element, "data-key", row.key)
    if (!there && before.size && row.severity === declared.worst) element.classList.add("arrived")
    now.set(row.key, {text, element})
    return element
  })
  kept[name] = now
  if (!elements.length && !part.unknown) {
    const words = part.empty || list.empty || say("nothing")
    elements.push(list.items ? make("li", {class: "empty"}, words)
      : make("tr", {class: "empty"}, make("td", {colspan: list.columns.length}, words)))
  }
  if (part.more) elements.push(make("li", {class: "quiet"}, make("a", {href: part.more_href, "data-go": true}, say("more", {n: part.more}))))
  bring(place, elements)
  setAttribute(place, "data-produced-at", part.produced_at)
  setAttribute(place, "data-late", part.stale)
  if (part.words !== undefined) setText($(`[data-words="${name}"]`), part.words)
  if (part.order) paintOrder(name, place, part.order)
}

// By which column the rows are ordered, and which page of them is shown.
function paintOrder(name, place, {field, up, page, pages}) {
  for (const button of place.closest("table").querySelectorAll("[data-sort]")) {
    const chosen = button.dataset.sort === field
    setAttribute(button.closest("th"), "aria-sort", chosen ? (up ? "ascending" : "descending") : null)
    // The next click turns the order around.
    setAttribute(button, "data-next", chosen && !up ? `${field}.asc` : button.dataset.sort)
  }
  const pager = $(`[data-pager="${name}"]`)
  pager.hidden = pages < 2 && page < 2
  // Rows may have become fewer: the last page is one step back from any beyond it.
  const step = (to, words, label) => make("button", {type: "button", class: "quiet link", "data-page": String(to),
    "aria-label": label, disabled: to < 1 || to > pages ? "" : null}, words)
  keepingFocus(pager, () => pager.replaceChildren(step(Math.min(page - 1, pages), "\u2039", say("page_before")), ` ${say("page", {page, pages})} `,
    step(page + 1, "\u203a", say("page_after"))))
}

function letGo(name) {
  const place = $(`[data-list="${name}"]`), scroller = place.closest(".rows, .list")
  if (scroller) scroller.scrollTop = 0
  getSelection()?.removeAllRanges()
  paintList(name)
}

// Back at the top, or with nothing selected any more, the rows go on by themselves.
const goOn = () => { for (const button of document.querySelectorAll("[data-release]:not([hidden])")) paintList(button.dataset.release) }
document.addEventListener("selectionchange", goOn)
document.addEventListener("scroll", goOn, {capture: true, passive: true})
document.addEventListener("click", (event) => {
  const release = event.target.closest("[data-release]")
  if (release) letGo(release.dataset.release)
  const sort = event.target.closest("[data-sort]"), page = event.target.closest("[data-page]")
  if (sort) choose((next) => next.set("sort", sort.dataset.next || sort.dataset.sort))
  if (page) choose((next) => page.dataset.page === "1" ? next.delete("page") : next.set("page", page.dataset.page))
})

// What is shown, as a file: each page has a key of its own to it.
export function fillExports(place, name) {
  const link = (kind, words) => make("a", {href: `export/${held.export.key}/${name}.${kind}`, download: true}, words)
  place.replaceChildren(link("csv", "CSV"), " ", link("parquet", "Parquet"))
}

function paintExports() {
  for (const place of document.querySelectorAll("[data-export]")) fillExports(place, place.dataset.export)
}

paints("export", paintExports)
paints("list", paintList)
