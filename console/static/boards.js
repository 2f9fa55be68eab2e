// Boards: what a panel says beside its figures, and tabs that came, went or changed since the page was made.

import {declared, say} from "./declared.js"
import {$, make, setAttribute, setText} from "./dom.js"
import {held, paints} from "./parts.js"
import {fullTime} from "./times.js"

function paintPanel(name) {
  const {words, failed, read_at: readAt} = held[`panel.${name}`]
  const place = $(`[data-panel="${name}"]`), read = $(`[data-read="${name}"]`)
  if (place) {
    place.hidden = !words
    place.classList.toggle("failed", failed)
    const shown = place.previousElementSibling
    if (shown?.matches(".chart, .scroll")) setAttribute(shown, "data-late", failed || null)
    setText(place, words)
  }
  if (read) setText(read, readAt ? say("read_at", {at: fullTime(readAt)}) : "")
}

const madeOf = (name) => declared.tabs[name]?.edition

// Whether a tab is another than when the page was made: then its address is loaded anew.
export function isChanged(tab) {
  const known = held.boards?.tabs
  if (!known) return false
  const now = known.find(([name]) => name === tab)
  return (now ? now[2] : undefined) !== madeOf(tab) && (now !== undefined || madeOf(tab) !== undefined)
}

function paintBoards() {
  const nav = $("nav"), links = new Map([...nav.querySelectorAll("a")].map((link) => [link.dataset.tab, link]))
  const wanted = held.boards.tabs.map(([name, title]) => {
    const link = links.get(name) ?? make("a", {"data-tab": name, href: `?tab=${name}`})
    if (!link.firstElementChild) setText(link, title)
    return link
  })
  if (wanted.some((link, index) => nav.children[index] !== link) || nav.children.length !== wanted.length) nav.replaceChildren(...wanted)
  // What is looked at is shown as it is now; the address holds all that was chosen.
  const shown = new URLSearchParams(location.search).get("tab") || declared.home
  if (isChanged(shown)) location.reload()
}

paints("panel", paintPanel)
paints("boards", paintBoards)
