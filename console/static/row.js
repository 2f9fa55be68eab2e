// All fields of a row that is clicked, its texts in full.

import {say} from "./declared.js"
import {$, make, setText} from "./dom.js"
import {held} from "./parts.js"
import {fullTime} from "./times.js"

let asked = 0                       // how often a row was; only the newest answer is shown

async function show(row) {
  const number = ++asked, {event} = row.dataset
  const list = row.closest("[data-list]").dataset.list
  const place = $("#row dl")
  $("#row-links").replaceChildren()
  setText($("#row h2"), row.closest(".scroll").previousElementSibling.firstChild.textContent.trim())
  place.replaceChildren(make("dd", {class: "quiet"}, say("asking")))
  $("#row").showModal()
  try {
    const answer = await fetch(`row/${held.export.key}/${list}?event=${encodeURIComponent(event)}`)
    const text = await answer.text()
    if (number !== asked) return
    if (!answer.ok) throw new Error(text)
    const {fields} = JSON.parse(text)
    place.replaceChildren(...fields.flatMap(([name, text, kind]) => [make("dt", {}, name.replaceAll("_", " ")),
      make("dd", {}, text === null ? say("none") : kind === "time" ? fullTime(text) : text)]))
    const leads = (field, address, words) => {
      const id = fields.find(([name]) => name === field)?.[1]
      return id ? [make("a", {href: `?${address}=${encodeURIComponent(id)}`, "data-go": "ranged", "data-close": true}, say(words))] : []
    }
    const links = [...leads("order_id", "tab=orders&order", "order"), ...leads("user_id", "tab=customers&user", "customer")]
    $("#row-links").replaceChildren(...links.flatMap((link, index) => index ? [" · ", link] : [link]))
  } catch (error) {
    if (number === asked) place.replaceChildren(make("dd", {class: "failed"}, error.message))
  }
}

document.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-whole]")
  // Who selects text, or follows a link, wants no more than that.
  if (row && !event.target.closest("a, button") && getSelection().isCollapsed) show(row)
})
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches?.("tr[data-whole]")) { event.preventDefault(); show(event.target) }
})
