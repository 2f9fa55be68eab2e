// Marking that something was changed, so that others see it on the charts and in what they are told.

import {ask} from "./acting.js"
import {say} from "./declared.js"
import {$, setText} from "./dom.js"

function told(words, failed = false) {
  const said = $("#mark-said")
  said.classList.toggle("failed", failed)
  setText(said, words)
}

export function openMark() {
  told("")
  $("#mark").showModal()
  $("#mark-text").focus()
}

document.addEventListener("submit", (event) => {
  if (event.target.id !== "mark-form") return
  event.preventDefault()
  const field = $("#mark-text"), button = $("#mark-form [type=submit]")
  told(say("acting"))
  button.disabled = true
  ask("mark", {text: field.value}, (error) => {
    button.disabled = false
    told(error || "", Boolean(error))
    if (error) return
    field.value = ""
    $("#mark").close()
  })
})
$("#mark-open").addEventListener("click", openMark)
