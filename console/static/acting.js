// What is asked of the notifier from this page, and what became of it.

import {tell} from "./choices.js"
import {held, paints} from "./parts.js"

let number = 0                      // of the newest act of this page
const waiting = new Map()

// Do it; `answered` gets the sentence of why it was refused, or null.
export function ask(what, more, answered) {
  waiting.set(++number, answered)
  tell({act: {what, number, ...more}})
}

paints("acted", () => {
  const {number: done, error} = held.acted
  const answered = waiting.get(done)
  waiting.delete(done)
  answered?.(error)
})
