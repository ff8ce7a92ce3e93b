// SPDX-License-Identifier: Apache-2.0
//
// A Minecraft Java player in offline mode: asks for the status, logs in, walks 20 steps a second and counts what the
// server tells. Ends with one JSON object; "ok" says that the status was right and the session held all the time.
//
//   node client.js HOST PORT VERSION SECONDS NAME
'use strict'
const protocol = require('minecraft-protocol')

const [host, port, version, seconds, username] =
  [process.argv[2], Number(process.argv[3]), process.argv[4], Number(process.argv[5]), process.argv[6]]

const seen = { status: '', protocol: 0, joined_ms: 0, told: 0, longest_gap_ms: 0, steps: 0 }
let finished = false

function finish (why) {
  if (finished) return
  finished = true
  const ok = !why && seen.status === 'parry e2e' && seen.told >= seconds * 10 // of 20: the machine has other work
  console.log(JSON.stringify({ ok, why, ...seen }))
  process.exitCode = ok ? 0 : 1
  setTimeout(() => process.exit(), 50)
}

async function play () {
  const status = await protocol.ping({ host, port, version, closeTimeout: 5000 })
  seen.status = status.description?.text ?? String(status.description)
  seen.protocol = status.version.protocol
  const began = Date.now()
  const client = protocol.createClient({ host, port, version, username, auth: 'offline', hideErrors: true })
  for (const event of ['error', 'end', 'kick_disconnect', 'disconnect']) {
    client.on(event, (what) => finish(`${event}: ${what?.reason ?? what}`))
  }
  let last = 0
  client.on('update_time', () => {
    const now = Date.now()
    if (last) seen.longest_gap_ms = Math.max(seen.longest_gap_ms, now - last)
    last = now
    seen.told++
  })
  client.once('login', () => {
    seen.joined_ms = Date.now() - began
    setInterval(() => {
      if (finished) return
      seen.steps++
      client.write('position', { x: seen.steps / 10, y: 200, z: 0, onGround: true, flags: { onGround: true } })
    }, 50)
    setTimeout(() => {
      finish()
      client.end()
    }, seconds * 1000)
  })
  setTimeout(() => finish('no login'), 10000 + seconds * 1000)
}

play().catch((err) => finish(String(err)))
