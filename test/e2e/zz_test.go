package e2e
import ("testing";"time")
func TestZZ(t *testing.T) {
	b := time.Now()
	s := newSite(t, "zz", siteOptions{routed: true})
	t.Log("site", time.Since(b)); b=time.Now()
	s.secondRouters()
	t.Log("second", time.Since(b)); b=time.Now()
	s.edge.run(everyMode(unlimited))
	t.Log("edge", time.Since(b)); b=time.Now()
	st, _ := s.forwardedPlay()
	t.Log("play", time.Since(b)); b=time.Now()
	for _, x := range st { x.end() }
	t.Log("end", time.Since(b)); b=time.Now()
	t.Cleanup(func(){ t.Log("clean sockets", time.Since(b))})
	s.edge.kill()
	t.Log("kill", time.Since(b)); b=time.Now()
	s.net.Close()
	t.Log("close", time.Since(b)); b=time.Now()
}
