// SPDX-License-Identifier: Apache-2.0
//
// A mineflayer bot: joins a world, loads its chunks, walks, and talks to itself by the server. Ends with one JSON
// object; "ok" says that it spawned, has moved, and heard what it said.
//
//   node bot.js HOST PORT VERSION SECONDS NAME
'use strict'
const mineflayer = require('mineflayer')

const [host, port, version, seconds, username] =
  [process.argv[2], Number(process.argv[3]), process.argv[4], Number(process.argv[5]), process.argv[6]]
const began = Date.now()
const seen = { spawned_ms: 0, chunks: 0, said: 0, heard: 0, moved: 0 }
let finished = false

const bot = mineflayer.createBot({ host, port, version, username, auth: 'offline' })

function finish (why) {
  if (finished) return
  finished = true
  const ok = !why && seen.spawned_ms > 0 && seen.chunks > 0 && seen.heard > 0 && seen.moved > 1
  console.log(JSON.stringify({ ok, why, ...seen }))
  process.exit(ok ? 0 : 1)
}

for (const event of ['kicked', 'error', 'end']) bot.on(event, (what) => finish(`${event}: ${what}`))
bot.on('chunkColumnLoad', () => seen.chunks++)
bot.on('messagestr', (text) => { if (text.includes('echo of')) seen.heard++ })
bot.once('spawn', () => {
  seen.spawned_ms = Date.now() - began
  const start = bot.entity.position.clone()
  bot.setControlState('forward', true)
  bot.setControlState('jump', true)
  setInterval(() => {
    bot.chat(`echo of ${seen.said++}`)
    seen.moved = Math.max(seen.moved, Math.round(bot.entity.position.distanceTo(start) * 10) / 10)
  }, 500)
  setTimeout(() => finish(), seconds * 1000)
})
setTimeout(() => finish('no spawn'), 20000 + seconds * 1000)
