package text
import ("testing";"time";"os";"encoding/json";"slices";"strings")
func TestReal(t *testing.T){
 for _,name:=range []string{"llama3_1","qwen3","deepseek_v3","gptoss","llama2","gemma3"} { t.Run(name,func(t *testing.T){
  var r struct{ Model,Pre string; Tokens,Merges []string; Types []int32; Scores []float32; BOS,EOS int32; Prefix bool; Corpus []string; IDs [][]int32; Decoded []string}
  b,err:=os.ReadFile("/tmp/oracle/real_"+name+".json"); if err!=nil{t.Fatal(err)}
  if err:=json.Unmarshal(b,&r);err!=nil{t.Fatal(err)}
  v:=GGUFVocab{Model:r.Model,Pre:r.Pre,Tokens:r.Tokens,Types:r.Types,Merges:r.Merges,Scores:r.Scores,BOS:r.BOS,EOS:r.EOS,UNK:-1,PAD:-1}
  if r.Model=="llama"{v.AddSpacePrefix=&r.Prefix}
  s:=time.Now(); tok,err:=LoadGGUFVocab(v); if err!=nil{t.Fatal(err)}; defer tok.Close()
  dt:=time.Since(s); bad,badd,bads:=0,0,0
  for i,c:=range r.Corpus { ids,err:=tok.Encode(c,true); if err!=nil||!slices.Equal(ids,r.IDs[i]) {bad++; if bad<40 && !strings.Contains(c,"▁") {k:=0; for k<len(ids)&&k<len(r.IDs[i])&&ids[k]==r.IDs[i][k]{k++}; t.Logf("%.60q at %d\n got %v\nwant %v",c,k,clip(ids,k),clip(r.IDs[i],k))}}
   p,_:=tok.Encode(c,false); d,_:=tok.Decode(p,false); if d!=r.Decoded[i]{badd++; if badd<3{t.Logf("decoded %.80q want %.80q",d,r.Decoded[i])}}
   if st:=stream(t,tok,p,false); st!=d && " "+st!=d {bads++; if bads<3{t.Logf("streamed %.80q decoded %.80q",st,d)}}
  }
  t.Logf("load %v, %d texts, %d wrong ids, %d wrong decodes, %d stream!=decode",dt,len(r.Corpus),bad,badd,bads)
 })}
}
func clip(x []int32,k int)[]int32{ return x[max(0,k-2):min(len(x),k+6)] }
