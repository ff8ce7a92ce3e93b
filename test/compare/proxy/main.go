// SPDX-License-Identifier: Apache-2.0

// Command proxy is a plain UDP proxy as one writes it in Go: a socket for all clients, a socket and a goroutine for
// each. `make compare` measures it beside parry; it is of no other use.
//
//	proxy LISTEN SERVER
package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: proxy LISTEN SERVER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "proxy:", err)
		os.Exit(1)
	}
}

// run forwards until its socket breaks.
func run(listen, server string) error {
	at, err := netip.ParseAddrPort(listen)
	if err != nil {
		return err
	}
	to, err := netip.ParseAddrPort(server)
	if err != nil {
		return err
	}
	front, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	defer front.Close()
	clients := map[netip.AddrPort]*net.UDPConn{}
	buf := make([]byte, 2048)
	for {
		n, from, err := front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		c := clients[from]
		if c == nil {
			if c, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to)); err != nil {
				return err
			}
			clients[from] = c
			go answers(front, c, from) // ends with the process
		}
		_, _ = c.Write(buf[:n]) // a server that is away loses packets, as it does without a proxy
	}
}

func answers(front, c *net.UDPConn, to netip.AddrPort) {
	buf := make([]byte, 2048)
	for {
		n, err := c.Read(buf)
		if err != nil {
			continue // refused: the server is away
		}
		_, _ = front.WriteToUDPAddrPort(buf[:n], to)
	}
}
