package figures

import "testing"
import "os/exec"
import "fmt"

func TestDumpJIT(t *testing.T) {
	b := newBench(t, "dump")
	b.establish(t, pair4)
	p := b.program(t)
	defer p.Close()
	info, _ := p.Info()
	id, _ := info.ID()
	out, err := exec.Command("bpftool", "prog", "dump", "jited", "id", fmt.Sprint(id)).CombinedOutput()
	fmt.Println(string(out), err)
	out, err = exec.Command("bpftool", "prog", "dump", "xlated", "id", fmt.Sprint(id)).CombinedOutput()
	fmt.Println(string(out), err)
}
