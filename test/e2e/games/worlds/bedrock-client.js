// SPDX-License-Identifier: Apache-2.0
//
// A Minecraft Bedrock player in offline mode: asks for the advertisement, opens a RakNet session, spawns, talks and
// counts what the server tells. Ends with one JSON object; "ok" says that all of it held.
//
//   node bedrock-client.js HOST PORT VERSION SECONDS NAME BACKEND
'use strict'
const bedrock = require('bedrock-protocol')

const [host, port, version, seconds, username, raknetBackend] =
  [process.argv[2], Number(process.argv[3]), process.argv[4], Number(process.argv[5]), process.argv[6], process.argv[7]]
const seen = { motd: '', spawned_ms: 0, told: 0, longest_gap_ms: 0, said: 0 }
let finished = false

function finish (why) {
  if (finished) return
  finished = true
  const ok = !why && seen.motd === 'parry e2e' && seen.told >= seconds * 15
  console.log(JSON.stringify({ ok, why, ...seen }))
  process.exit(ok ? 0 : 1)
}

async function play () {
  seen.motd = (await bedrock.ping({ host, port })).motd
  const began = Date.now()
  const client = bedrock.createClient({
    host, port, version, username, raknetBackend, offline: true, skipPing: true, useRaknetWorkers: false,
  })
  for (const event of ['error', 'kick', 'close']) client.on(event, (what) => finish(`${event}: ${JSON.stringify(what ?? '')}`))
  let last = 0
  client.on('set_time', () => {
    const now = Date.now()
    if (last) seen.longest_gap_ms = Math.max(seen.longest_gap_ms, now - last)
    last = now
    seen.told++
  })
  client.once('spawn', () => {
    seen.spawned_ms = Date.now() - began
    setInterval(() => {
      client.queue('text', {
        type: 'chat', category: 'authored', needs_translation: false, source_name: username, message: `${seen.said++}`,
        xuid: '', platform_chat_id: '', filtered_message: '', has_filtered_message: false,
      })
    }, 100)
    setTimeout(() => finish(), seconds * 1000)
  })
  setTimeout(() => finish('no spawn'), 15000 + seconds * 1000)
}

play().catch((err) => finish(String(err)))
