// The keyboard: what a key does, said by `?`.

import {choose, onTab, parameters} from "./choices.js"
import {freeze} from "./controls.js"
import {declared} from "./declared.js"
import {$, make} from "./dom.js"
import {openMark} from "./mark.js"
import {chooseMoment} from "./moment.js"
import {held} from "./parts.js"
import {pause} from "./pause.js"
import {closeToast} from "./toast.js"

const tabs = Object.keys(declared.tabs)
const click = (selector) => () => $(selector).click()
const shown = () => held.view?.tab || declared.home

function find() {
  const field = $(`#${shown()} [data-search]`)
  if (field) { field.focus(); field.select() }
}

// One step back: what just came up, the incident, order or customer that is shown, then what is brushed.
function back() {
  if (closeToast()) return
  const names = ["incident", "order", "user", "brush"].filter((name) => parameters().has(name))
  if (names.length) choose((next) => next.delete(names[0]))
}

const does = {
  f: freeze, a: chooseMoment, p: pause, m: openMark, t: () => [$("#range"), $("#last")].find((one) => one.checkVisibility())?.focus(), "/": find, d: click("#theme"), z: click("#zone"),
  "?": () => $("#keys").showModal(), Escape: back,
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return
  const typing = event.target.closest?.("input, select, textarea")
  if (typing) { if (event.key === "Escape") typing.blur(); return }
  const row = event.target.closest?.("[data-choose]")
  if (row && event.key === "Enter") { event.preventDefault(); row.click(); return }
  const tab = tabs[Number(event.key) - 1]
  const act = tab ? () => choose((next) => onTab(next, tab)) : does[event.key]
  if (!act) return
  event.preventDefault()
  act()
})

const told = [...tabs.map((tab, index) => [String(index + 1), declared.tabs[tab].title]), ...declared.keys]
$("#keys dl").replaceChildren(...told.flatMap(([key, words]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, words)]))
