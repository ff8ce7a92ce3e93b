// SPDX-License-Identifier: Apache-2.0

package naming

import "bytes"

// The web over TCP. Sources: RFC 8446 (TLS), RFC 9112 (HTTP), RFC 2326 (RTSP).
var webRules = [...]rule{
	{WebTLS, 95, "TLS: a hello in a record", tlsHello},
	{WebTLS, 70, "TLS: a record", tlsRecord},
	{WebHTTP, 92, "HTTP", http},
	{VideoStream, 94, "HTTP that brings video", httpVideo},
	{VideoStream, 92, "RTSP", func(p *packet) bool { return p.is(0, "RTSP/1.0 ") || bytes.Contains(p.line(), []byte(" RTSP/1.0")) }},
	{VideoStream, 80, "RTMP's handshake", func(p *packet) bool { return p.from && p.nth == 0 && p.u8(0) == 3 && p.zeros(5, 9) && p.n > 1000 }},
}

// line is what was captured of the first line.
func (p *packet) line() []byte {
	line, _, _ := bytes.Cut(p.b, []byte("\n"))
	return line
}

// tlsHello: a handshake record of a version that is known, which begins with a client's or server's hello.
func tlsHello(p *packet) bool {
	return p.is(0, "\x16\x03") && p.u8(2) <= 4 && (p.u8(5) == 1 || p.u8(5) == 2) && int(p.be16(3)) <= 1<<14+256 && p.be16(3) >= 4
}

func tlsRecord(p *packet) bool {
	return p.u8(0) >= 20 && p.u8(0) <= 23 && p.u8(1) == 3 && p.u8(2) <= 4 && p.be16(3) >= 1 && p.be16(3) <= 1<<14+256
}

var httpMethods = [...]string{"GET ", "POST ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "CONNECT ", "PATCH ", "PROPFIND ", "HTTP/1.0 ", "HTTP/1.1 ", "PRI * HTTP/2"}

// http: a method and what it is of, or a status.
func http(p *packet) bool {
	return p.beginsAny(httpMethods[:]) && p.printable(0, min(len(p.line()), 64)) && !bytes.Contains(p.line(), []byte(" RTSP/"))
}

var videoTypes = [...]string{"ontent-Type: video/", "ontent-type: video/", "application/vnd.apple.mpegurl", "application/dash+xml", "application/x-mpegURL", ".m3u8 HTTP", ".mpd HTTP"}

func httpVideo(p *packet) bool {
	if !http(p) {
		return false
	}
	for _, t := range videoTypes {
		if bytes.Contains(p.b, []byte(t)) {
			return true
		}
	}
	return false
}
