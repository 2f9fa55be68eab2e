// What is asked of the notifier from this page, and what became of it.

import {tell} from "./choices.js"
import {say} from "./declared.js"
import {held, paints} from "./parts.js"

let number = 0                      // of the newest act of this page
const waiting = new Map()

// Do it; `answered` gets the sentence of why it was refused, or null.
export function ask(what, more, answered) {
  waiting.set(++number, answered)
  if (!tell({act: {what, number, ...more}})) answer(number, say("lost"))
}

function answer(done, error) {
  const answered = waiting.get(done)
  waiting.delete(done)
  answered?.(error)
}

paints("acted", () => { for (const [done, error] of Object.entries(held.acted.answers)) answer(Number(done), error) })
