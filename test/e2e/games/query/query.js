// SPDX-License-Identifier: Apache-2.0
//
// Asks a game server for its state, as server lists do. Ends with one JSON object: "ok", and the state without what is of
// the way and the moment.
//
//   node query.js TYPE HOST PORT
'use strict'

async function main () {
  const { GameDig } = await import('gamedig')
  const [type, host, port] = [process.argv[2], process.argv[3], Number(process.argv[4])]
  const state = await GameDig.query({
    type, host, port, givenPortOnly: true, requestRules: true, socketTimeout: 2000, attemptTimeout: 8000, maxRetries: 2
  })
  for (const key of ['ping', 'connect', 'queryPort']) delete state[key]
  console.log(JSON.stringify({ ok: true, state }))
}

main().catch(e => {
  console.log(JSON.stringify({ ok: false, why: String(e) }))
  process.exitCode = 1
})
